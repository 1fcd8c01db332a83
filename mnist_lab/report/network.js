// The three networks of mnist_lab/models.py, as the page computes them.
//
// An image is 784 numbers, row by row; a stack of maps is one map after the other. The weights `w`
// carry PyTorch's names and lie in PyTorch's order.

const networks = {
  logistic_regression: (image, w) => sigmoid(linear(image, w["linear.weight"], w["linear.bias"])),

  fnn: (image, w) => {
    const hidden = relu(linear(image, w["hidden.weight"], w["hidden.bias"]));
    return linear(hidden, w["output.weight"], w["output.bias"]);
  },

  cnn: (image, w) => {
    const first = relu(maxPool(conv(image, 28, w["conv1.weight"], w["conv1.bias"]), 28));
    const second = relu(maxPool(conv(first, 14, w["conv2.weight"], w["conv2.bias"]), 14));
    const hidden = relu(linear(second, w["hidden.weight"], w["hidden.bias"]));
    return linear(hidden, w["output.weight"], w["output.bias"]);
  },
};

// weight: a row of x.length numbers for each output.
function linear(x, weight, bias) {
  return bias.map((start, row) => {
    let sum = start;
    for (let i = 0; i < x.length; i++) sum += weight[row * x.length + i] * x[i];
    return sum;
  });
}

// 3x3 filters, zero padding 1: maps of side x side to as many of the same size as there are filters.
function conv(maps, side, weight, bias) {
  const inputs = maps.length / (side * side);
  const wide = side + 2;
  const padded = withMargin(maps, side);
  const out = new Float32Array(bias.length * side * side);
  for (let i = 0; i < out.length; i++) {
    const filter = Math.floor(i / (side * side));
    const y = Math.floor(i / side) % side;
    let sum = bias[filter];
    let k = filter * inputs * 9;
    for (let input = 0; input < inputs; input++) {
      for (let row = 0; row < 3; row++, k += 3) {
        const at = (input * wide + y + row) * wide + (i % side);
        sum += weight[k] * padded[at];
        sum += weight[k + 1] * padded[at + 1];
        sum += weight[k + 2] * padded[at + 2];
      }
    }
    out[i] = sum;
  }
  return out;
}

// A zero more on each side of every map.
function withMargin(maps, side) {
  const wide = side + 2;
  const out = new Float32Array((maps.length / (side * side)) * wide * wide);
  for (let row = 0; row < maps.length / side; row++) {
    const [map, y] = [Math.floor(row / side), row % side];
    const values = maps.subarray(row * side, (row + 1) * side);
    out.set(values, (map * wide + y + 1) * wide + 1);
  }
  return out;
}

// The largest of each 2x2 square.
function maxPool(maps, side) {
  const half = side / 2;
  const out = new Float32Array(maps.length / 4);
  for (let i = 0; i < out.length; i++) {
    const row = Math.floor(i / half); // of all maps, one below the other
    const corner = 2 * row * side + 2 * (i % half);
    const below = corner + side;
    out[i] = Math.max(maps[corner], maps[corner + 1], maps[below], maps[below + 1]);
  }
  return out;
}

function relu(x) {
  return x.map((value) => Math.max(value, 0));
}

function sigmoid(x) {
  return x.map((value) => 1 / (1 + Math.exp(-value)));
}

function softmax(scores) {
  const highest = Math.max(...scores);
  const powers = Array.from(scores, (score) => Math.exp(score - highest));
  const sum = powers.reduce((a, b) => a + b);
  return powers.map((power) => power / sum);
}
