// The pad: strokes become an image as MNIST's were made, and the networks answer.

const INK = 20; // width of the pen, in pixels of the pad
const data = JSON.parse(document.getElementById("data").textContent);
const models = data.models.map((model) => ({ name: model.name, weights: unpacked(model) }));
const pad = document.getElementById("pad");
const pen = pad.getContext("2d", { willReadFrequently: true });
const seen = document.getElementById("seen").getContext("2d", { willReadFrequently: true });
const said = document.getElementById("answer");
let loaded = false; // whether the pad shows a digit of the test set, not strokes
let waiting = false;

// One after the other in `weights`: float32, little-endian, base64; `shapes` has their names.
function unpacked(model) {
  const bytes = Uint8Array.from(atob(model.weights), (letter) => letter.charCodeAt(0));
  let at = 0;
  return Object.fromEntries(
    model.shapes.map(([name, shape]) => {
      const length = shape.reduce((a, b) => a * b);
      const values = new Float32Array(bytes.buffer, at, length);
      at += 4 * length;
      return [name, values];
    }),
  );
}

// The probabilities that each model gives to the ten digits; `pixels` are 784 numbers in 0 to 1.
function answer(pixels) {
  const image = Float32Array.from(pixels, (value) => (value - data.mean) / data.std);
  return models.map(({ name, weights }) => softmax(networks[name](image, weights)));
}

// What MNIST's makers did: fit the ink into 20x20, each pixel the mean of what it covers, and put
// its centre of mass into the middle of 28x28, which is pixel (14, 14). `ink` holds side x side
// numbers in 0 to 1; null if there is none.
function asMnist(ink, side) {
  let [left, right, top, bottom, mass, x, y] = [side, -1, side, -1, 0, 0, 0];
  for (let row = 0; row < side; row++) {
    for (let column = 0; column < side; column++) {
      const value = ink[row * side + column];
      if (value === 0) continue;
      if (column < left) left = column;
      if (column > right) right = column;
      if (row < top) top = row;
      if (row > bottom) bottom = row;
      mass += value;
      x += value * (column + 0.5);
      y += value * (row + 0.5);
    }
  }
  if (mass === 0) return null;
  const longer = Math.max(right - left, bottom - top) + 1;
  const step = Math.max(longer, 20) / 20; // no dot is blown up
  const pixels = new Float32Array(784);
  for (let place = 0; place < 784; place++) {
    const across = x / mass + ((place % 28) - 14.5) * step;
    const down = y / mass + (Math.floor(place / 28) - 14.5) * step;
    pixels[place] = meanOf(ink, side, across, down, step);
  }
  return pixels;
}

// The mean of the square of `width` at (left, top); what lies beyond the ink is empty.
function meanOf(ink, side, left, top, width) {
  const covered = (cell, start) => Math.min(cell + 1, start + width) - Math.max(cell, start);
  const [right, bottom] = [Math.min(side, left + width), Math.min(side, top + width)];
  let sum = 0;
  for (let row = Math.max(0, Math.floor(top)); row < bottom; row++) {
    let across = 0;
    for (let column = Math.max(0, Math.floor(left)); column < right; column++) {
      across += ink[row * side + column] * covered(column, left);
    }
    sum += across * covered(row, top);
  }
  return sum / (width * width);
}

// Show what the models say to `pixels`, or nothing if they are null.
function show(pixels) {
  paint(seen, pixels ?? new Float32Array(784));
  document.getElementById("hint").hidden = pixels !== null;
  const started = performance.now();
  const answers = pixels ? answer(pixels) : models.map(() => null);
  const milliseconds = performance.now() - started;
  document.querySelectorAll("[data-model]").forEach((card, place) => tell(card, answers[place]));
  document.getElementById("took").textContent = pixels
    ? `Answered in ${milliseconds.toFixed(1)}\u00a0ms.`
    : "";
}

function tell(card, probabilities) {
  const read = probabilities ? probabilities.indexOf(Math.max(...probabilities)) : null;
  card.querySelector(".read").textContent = read ?? "–";
  card.querySelectorAll("li").forEach((row, digit) => {
    const share = probabilities?.[digit];
    row.classList.toggle("best", digit === read);
    row.style.setProperty("--share", share ?? 0);
    row.querySelector(".percent").textContent = probabilities ? percent(share) : "";
    row.dataset.probability = share ?? "";
  });
}

function percent(share) {
  return `${(100 * share).toFixed(share < 0.9995 && share >= 0.0005 ? 1 : 0)}%`;
}

// Say the answers once to a screen reader, when a stroke has ended or a digit is loaded.
function announce() {
  said.textContent = [...document.querySelectorAll("[data-model]")]
    .map((card) => {
      const best = card.querySelector(".best .percent");
      const title = card.querySelector("h3").textContent;
      return best ? `${title}: ${card.querySelector(".read").textContent}, ${best.textContent}` : "";
    })
    .join("; ");
}

function paint(context, pixels) {
  const image = context.createImageData(28, 28);
  pixels.forEach((value, place) => {
    image.data.fill(Math.round(255 * value), 4 * place, 4 * place + 3);
    image.data[4 * place + 3] = 255;
  });
  context.putImageData(image, 0, 0);
}

function clear() {
  pen.fillStyle = "black";
  pen.fillRect(0, 0, pad.width, pad.height);
  loaded = false;
}

function inkOnPad() {
  return firstOfFour(pen.getImageData(0, 0, pad.width, pad.height).data);
}

// Grey from red, green, blue and alpha: numbers in 0 to 1.
function firstOfFour(bytes) {
  const grey = new Float32Array(bytes.length / 4);
  for (let i = 0; i < grey.length; i++) grey[i] = bytes[4 * i] / 255;
  return grey;
}

// Put a digit of the test set on the pad; the models get its very pixels.
async function load(place) {
  const image = new Image();
  image.src = `data:image/png;base64,${data.digits[place]}`;
  await image.decode();
  clear();
  pen.imageSmoothingEnabled = false;
  pen.drawImage(image, 0, 0, pad.width, pad.height);
  loaded = true;
  seen.drawImage(image, 0, 0);
  show(firstOfFour(seen.getImageData(0, 0, 28, 28).data));
  announce();
}

function point(event) {
  const box = pad.getBoundingClientRect();
  const scale = pad.width / box.width;
  return [(event.clientX - box.left) * scale, (event.clientY - box.top) * scale];
}

function showSoon() {
  if (waiting) return;
  waiting = true;
  requestAnimationFrame(() => {
    waiting = false;
    if (!loaded) show(asMnist(inkOnPad(), pad.width));
  });
}

pad.addEventListener("pointerdown", (event) => {
  if (event.button !== 0) return;
  event.preventDefault();
  pad.setPointerCapture(event.pointerId);
  if (loaded) clear();
  Object.assign(pen, { lineWidth: INK, lineCap: "round", lineJoin: "round", strokeStyle: "white" });
  const [x, y] = point(event);
  pen.beginPath();
  pen.moveTo(x, y);
  pen.lineTo(x + 0.01, y); // a touch leaves a dot
  pen.stroke();
  showSoon();
});

pad.addEventListener("pointermove", (event) => {
  if (!pad.hasPointerCapture(event.pointerId)) return;
  for (const each of event.getCoalescedEvents?.() ?? [event]) pen.lineTo(...point(each));
  pen.stroke();
  showSoon();
});

pad.addEventListener("pointerup", () => requestAnimationFrame(announce));

document.getElementById("clear").addEventListener("click", () => {
  clear();
  show(null);
  said.textContent = "The pad is empty.";
});

// Each press of a digit loads the next of its test digits.
document.querySelectorAll("[data-examples]").forEach((button) => {
  const places = data.examples[button.dataset.examples];
  let next = 0;
  button.disabled = !places.length;
  button.addEventListener("click", () => load(places[next++ % places.length]));
});

document.querySelectorAll("[data-load]").forEach((button) =>
  button.addEventListener("click", () => {
    document.getElementById("draw").scrollIntoView({ block: "start" });
    load(button.dataset.load);
  }),
);

clear();
show(null);
// A browser compiles what has run a few times: be ready for the first stroke.
const allInk = new Float32Array(pad.width * pad.height).fill(1);
for (let run = 0; run < 8; run++) {
  setTimeout(() => answer(asMnist(allInk, pad.width)), 30 * run);
}
