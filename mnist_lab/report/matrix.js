// A cell of a confusion matrix tells its count, its share and its misread digits while the pointer
// or the focus is on it; the arrow keys move the focus.

document.querySelectorAll(".matrix").forEach((matrix, number) => {
  const { digits, matrices } = JSON.parse(document.getElementById("data").textContent);
  const grid = matrix.querySelector("[role=grid]");
  const cells = [...grid.querySelectorAll("[role=gridcell]")];
  const detail = matrix.querySelector(".detail");
  const empty = detail.innerHTML;

  function tell(cell) {
    const places = matrices[number][`${cell.dataset.true}-${cell.dataset.read}`] ?? [];
    const sentence = document.createElement("p");
    sentence.textContent = cell.getAttribute("aria-label");
    const strip = document.createElement("p");
    strip.className = "strip";
    for (const place of places) {
      const image = new Image(28, 28);
      image.src = `data:image/png;base64,${digits[place]}`;
      image.alt = "";
      image.className = "digit";
      strip.append(image);
    }
    const more = Number(cell.dataset.count) - places.length;
    if (places.length && more > 0) strip.append(`and ${more} more`);
    detail.replaceChildren(sentence, strip);
    cells.forEach((each) => each.classList.toggle("told", each === cell));
  }

  function forget() {
    detail.innerHTML = empty;
    cells.forEach((each) => each.classList.remove("told"));
  }

  const focused = () => cells.find((cell) => cell === document.activeElement);
  const settle = () => (focused() ? tell(focused()) : forget());

  cells.forEach((cell, place) => {
    cell.addEventListener("pointerenter", () => tell(cell));
    cell.addEventListener("click", () => cell.focus());
    cell.addEventListener("focus", () => tell(cell));
    cell.addEventListener("keydown", (event) => {
      const [row, column] = [Math.floor(place / 10), place % 10];
      const goal = {
        ArrowUp: [row - 1, column],
        ArrowDown: [row + 1, column],
        ArrowLeft: [row, column - 1],
        ArrowRight: [row, column + 1],
        Home: [row, 0],
        End: [row, 9],
        Escape: [row, column],
      }[event.key];
      if (!goal) return;
      event.preventDefault();
      if (event.key === "Escape") return forget();
      const inside = goal.every((index) => index >= 0 && index < 10);
      if (!inside) return;
      cell.setAttribute("tabindex", -1);
      const next = cells[10 * goal[0] + goal[1]];
      next.setAttribute("tabindex", 0);
      next.focus();
    });
  });
  grid.addEventListener("pointerleave", settle);
  grid.addEventListener("focusout", () => requestAnimationFrame(settle));
});
