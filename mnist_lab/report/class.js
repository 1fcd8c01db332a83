// The table of learners is searched and filtered by the fields above it, and sorted by its headings.

const rows = [...document.querySelectorAll("#learners tbody tr")];
const body = rows[0].parentElement;
const search = document.getElementById("search");
const filters = [...document.querySelectorAll("#filters select")];
const count = document.getElementById("shown");

// Without accents: who types Muller finds Müller, in whichever form a system has written it.
function plain(text) {
  return text.normalize("NFD").replace(/\p{M}/gu, "").toLocaleLowerCase();
}

function show() {
  const words = plain(search.value).split(/\s+/).filter(Boolean);
  let shown = 0;
  for (const row of rows) {
    const name = plain(row.cells[0].textContent);
    row.hidden = !(
      words.every((word) => name.includes(word)) &&
      filters.every(({ id, value }) => !value || row.dataset[id].split(" ").includes(value))
    );
    shown += !row.hidden;
  }
  count.textContent = `${shown} of ${rows.length} learners`;
}

const names = new Intl.Collator(undefined, { numeric: true });

function sort(heading) {
  const column = heading.cellIndex;
  const directions = column ? ["descending", "ascending"] : ["ascending", "descending"];
  const direction = directions[Number(heading.getAttribute("aria-sort") === directions[0])];
  const sign = direction === "ascending" ? 1 : -1;
  const compare = (a, b) =>
    column ? a.dataset.value - b.dataset.value : names.compare(a.textContent, b.textContent);
  for (const other of heading.parentElement.cells) other.removeAttribute("aria-sort");
  heading.setAttribute("aria-sort", direction);
  rows.sort((a, b) => sign * compare(a.cells[column], b.cells[column]));
  body.append(...rows);
}

search.addEventListener("input", show);
for (const filter of filters) filter.addEventListener("change", show);
document.querySelectorAll("#learners thead button").forEach((button) => {
  button.addEventListener("click", () => sort(button.closest("th")));
});
document.querySelectorAll("button[data-mistake]").forEach((button) => {
  button.addEventListener("click", () => {
    for (const filter of filters) filter.value = filter.id === "mistake" ? button.dataset.mistake : "";
    search.value = "";
    show();
    document.getElementById("filters").scrollIntoView();
  });
});
document.getElementById("filters").hidden = false;
show();
