/* Training steps and answers of the lab's three networks, for the CPU this is compiled on.
 *
 * The same mathematics as models.py under Adam and the mean cross-entropy. What makes it fast:
 *   - an image goes through both convolutions in the first cache, channels beside each other;
 *   - the four values of a pooling window are convolved together, by Winograd's minimal filtering;
 *   - most of a digit is background and most features are nothing after ReLU: the hidden layer,
 *     whose weights lie by input, visits what is left;
 *   - max pooling hands its gradient to one pixel in four, ReLU to fewer: going back, the
 *     convolutions visit these pixels only;
 *   - a step is one pass of a few threads. What one writes and another reads may have a long way, so
 *     each has images of its own for the convolutions and the outputs, and for the hidden layer
 *     inputs of its own, whose weights no other thread touches.
 * A network is [[two convolutions] -> a hidden layer of ReLUs] -> 10 outputs [-> sigmoid]; what is in
 * brackets may be missing.
 */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "threads.h"
#include "vectors.h"

typedef float quad __attribute__((vector_size(16)));

enum {
    SIDE = 28, HALF = 14, QUARTER = 7,  /* of an image, after one and after two poolings */
    PADDED = SIDE + 2, EDGE = HALF + 2, /* with the zeros around it */
    FIRST = 16, SECOND = 32,            /* channels of the two convolutions */
    TAPS = 9,                           /* weights of a 3x3 kernel */
    TILE = 4, SPOTS = TILE * TILE,      /* pixels that a pooling window of convolutions reads */
    PIXEL_COUNT = SIDE * SIDE, MAPS = SECOND * QUARTER * QUARTER, CLASSES = 10,
    WIDE = 8, STRETCH = WIDE * LANES,   /* units that are computed at a time: what registers hold */
    MOST_UNITS = 256,
    BAND = 64,                          /* inputs that are read at a time: what the cache holds */
    DOTS = 4,                           /* rows by rows that are multiplied at a time */
};

typedef struct {
    int convolutional, hidden, sigmoid; /* hidden: the number of ReLUs, 0 for none */
} Network;

/* Where each parameter lies in the vector of all: in the order of the model's own, but the hidden
 * layer's weights are (inputs, units). */
typedef struct {
    long weight1, bias1, weight2, bias2, hidden_weight, hidden_bias, weight, bias, end;
    int features, last; /* width of what the dense layers read, and of what the outputs read */
} Layout;

/* What the backward pass needs to know of an image's way through the convolutions. */
typedef struct {
    float maps[EDGE * EDGE * FIRST];     /* after the first pooling and ReLU, zeros around */
    uint8_t winner[HALF * HALF * FIRST]; /* which of the four pixels was the largest */
    uint16_t place[MAPS]; /* of each entry: where in `maps` the largest pixel's window begins */
} Trace;

/* What the hidden layer reads of an image: all inputs are `background` but for `count` entries. */
typedef struct {
    int count;
    float background;
    uint16_t *input; /* in ascending order; after the last one that is past all inputs */
    float *value;    /* less the background */
    float *gradient;
} Inputs;

/* An image that has an entry for an input. */
typedef struct {
    float value;
    int image, entry;
} Reader;

/* The convolutions' parameters in the order their loops want, and room for their gradients. */
typedef struct {
    float weight1[TAPS * FIRST], forward2[SPOTS * FIRST * SECOND], backward2[SECOND * TAPS * FIRST];
    float d_weight1[TAPS * FIRST], d_bias1[FIRST], d_weight2[SECOND * TAPS * FIRST], d_bias2[SECOND];
} Kernels;

typedef struct {
    Network network;
    Layout at;
    float *vector, *mean, *square;
    long steps; /* taken before this call */
    double learning_rate;
    const float *images;
    const int64_t *labels;
    long count, batch;
    float *logits;
    float *gradient, *hidden, *d_logits, *d_hidden;
    Inputs *inputs;                        /* a batch a thread */
    Inputs all;                            /* room for the entries of a batch, `room` an image */
    long room;
    Trace *traces;
    Kernels *kernels; /* one a thread */
    float *partial;   /* a batch of units a thread */
    Reader *readers;  /* BAND batches a thread */
    int *next;        /* a batch a thread */
    atomic_int arrived, turn;
} Job;

/* Of Adam's step. */
typedef struct {
    float size, scale;
} Rates;

static Rates rates_of(const Job *job, long step) {
    const double first = 1 - pow(0.9, (double)step), second = 1 - pow(0.999, (double)step);
    return (Rates){(float)(job->learning_rate / first), (float)(1 / sqrt(second))};
}

static Layout lay_out(Network network) {
    Layout at = {0};
    long next = 0;
    at.features = PIXEL_COUNT;
    if (network.convolutional) {
        at.weight1 = next, next += FIRST * TAPS;
        at.bias1 = next, next += FIRST;
        at.weight2 = next, next += SECOND * FIRST * TAPS;
        at.bias2 = next, next += SECOND;
        at.features = MAPS;
    }
    at.last = at.features;
    if (network.hidden) {
        at.hidden_weight = next, next += (long)network.hidden * at.features;
        at.hidden_bias = next, next += network.hidden;
        at.last = network.hidden;
    }
    at.weight = next, next += CLASSES * at.last;
    at.bias = next, next += CLASSES;
    at.end = next;
    return at;
}

/* As PyTorch: ReLU lets NaN through and NaN wins a maximum, so that a divergence shows. */
static inline ints dead(vec relu) { return relu <= (vec){0}; }
static inline vec relu(vec x) { return (vec)(~dead(x) & (ints)x); }
static inline ints larger(vec x, vec than) { return (x > than) | (x != x); }

static inline float sum(vec x) {
    quad total = {0};
    for (int i = 0; i < LANES; i += 4) total += (quad){x[i], x[i + 1], x[i + 2], x[i + 3]};
    return (total[0] + total[2]) + (total[1] + total[3]);
}

/* ---- convolutions: one image ---- */

static void pad(const float *image, float *padded) {
    memset(padded, 0, sizeof(float) * PADDED * PADDED);
    for (int y = 0; y < SIDE; y++)
        memcpy(padded + (y + 1) * PADDED + 1, image + y * SIDE, sizeof(float) * SIDE);
}

/* Winograd's minimal filtering F(2x2, 3x3) (Lavin and Gray, 2016), one side of it: two neighbouring
 * values of a convolution of four pixels are what `values` makes of the products of what `taps` makes
 * of the kernel and `pixels` of the pixels, four instead of six. */
static inline void filter_taps(const vec *g, int from, vec *to, int by) {
    vec ends = g[0] + g[2 * from];
    to[0] = g[0];
    to[by] = 0.5f * (ends + g[from]);
    to[2 * by] = 0.5f * (ends - g[from]);
    to[3 * by] = g[2 * from];
}
static inline void filter_pixels(const vec *d, int from, vec *to, int by) {
    to[0] = d[0] - d[2 * from];
    to[by] = d[from] + d[2 * from];
    to[2 * by] = d[2 * from] - d[from];
    to[3 * by] = d[from] - d[3 * from];
}
static inline void filter_values(const vec *m, int from, vec *to, int by) {
    to[0] = m[0] + m[from] + m[2 * from];
    to[by] = m[from] - m[2 * from] - m[3 * from];
}

static void order_kernels(const float *vector, const Layout *at, Kernels *kernels) {
    float second[TAPS][FIRST * SECOND];
    for (int out = 0; out < FIRST; out++)
        for (int tap = 0; tap < TAPS; tap++)
            kernels->weight1[tap * FIRST + out] = vector[at->weight1 + out * TAPS + tap];
    for (int out = 0; out < SECOND; out++)
        for (int in = 0; in < FIRST; in++)
            for (int tap = 0; tap < TAPS; tap++) {
                float weight = vector[at->weight2 + (out * FIRST + in) * TAPS + tap];
                second[tap][in * SECOND + out] = weight;
                kernels->backward2[(out * TAPS + tap) * FIRST + in] = weight;
            }
    for (int c = 0; c < FIRST * SECOND; c += LANES) {
        vec g[TAPS], half[3 * TILE], whole[SPOTS];
#pragma GCC unroll 9
        for (int tap = 0; tap < TAPS; tap++) g[tap] = load(second[tap] + c);
#pragma GCC unroll 3
        for (int i = 0; i < 3; i++) filter_taps(g + 3 * i, 1, half + TILE * i, 1);
#pragma GCC unroll 4
        for (int j = 0; j < TILE; j++) filter_taps(half + j, TILE, whole + j, TILE);
#pragma GCC unroll 16
        for (int spot = 0; spot < SPOTS; spot++)
            store(kernels->forward2 + spot * FIRST * SECOND + c, whole[spot]);
    }
}

static void convolve_first(const float *padded, const float *weight, const float *bias, Trace *to) {
    for (int c = 0; c < FIRST; c += LANES) {
        vec w[TAPS], b = load(bias + c);
        for (int tap = 0; tap < TAPS; tap++) w[tap] = load(weight + tap * FIRST + c);
        for (int y = 0; y < HALF; y++)
            for (int x = 0; x < HALF; x++) {
                const float *corner = padded + 2 * y * PADDED + 2 * x;
                vec best = {0};
                ints winner = {0};
#pragma GCC unroll 4
                for (int pixel = 0; pixel < 4; pixel++) {
                    const float *at = corner + (pixel >> 1) * PADDED + (pixel & 1);
                    vec value = b;
#pragma GCC unroll 9
                    for (int tap = 0; tap < TAPS; tap++)
                        value += at[tap / 3 * PADDED + tap % 3] * w[tap];
                    ints wins = pixel ? larger(value, best) : ~(ints){0};
                    best = pick(wins, value, best);
                    winner = (wins & pixel) | (~wins & winner);
                }
                store(to->maps + ((y + 1) * EDGE + x + 1) * FIRST + c, relu(best));
                *(bytes *)(to->winner + (y * HALF + x) * FIRST + c) =
                    __builtin_convertvector(winner, bytes);
            }
    }
}

/* A row of the second convolution's pooling windows: their products (16, 7, 32) by spot of the tile,
 * from the four rows of `maps` that they cover. */
static void multiply_windows(const float *maps, const float *weight, float *products) {
    float tiles[SPOTS * QUARTER * FIRST];
    for (int x = 0; x < QUARTER; x++)
        for (int c = 0; c < FIRST; c += LANES) {
            vec d[SPOTS], half[SPOTS], whole[SPOTS];
#pragma GCC unroll 16
            for (int spot = 0; spot < SPOTS; spot++)
                d[spot] = load(maps + (spot / TILE * EDGE + spot % TILE + 2 * x) * FIRST + c);
#pragma GCC unroll 4
            for (int i = 0; i < TILE; i++) filter_pixels(d + TILE * i, 1, half + TILE * i, 1);
#pragma GCC unroll 4
            for (int j = 0; j < TILE; j++) filter_pixels(half + j, TILE, whole + j, TILE);
#pragma GCC unroll 16
            for (int spot = 0; spot < SPOTS; spot++)
                store(tiles + (spot * QUARTER + x) * FIRST + c, whole[spot]);
        }
    for (int spot = 0; spot < SPOTS; spot++)
        for (int c = 0; c < SECOND; c += 2 * LANES) {
            const float *at = tiles + spot * QUARTER * FIRST;
            const float *w = weight + spot * FIRST * SECOND + c;
            vec left[QUARTER] = {0}, right[QUARTER] = {0};
            for (int in = 0; in < FIRST; in++) {
                vec u = load(w + in * SECOND), v = load(w + in * SECOND + LANES);
#pragma GCC unroll 7
                for (int x = 0; x < QUARTER; x++) {
                    left[x] += at[x * FIRST + in] * u;
                    right[x] += at[x * FIRST + in] * v;
                }
            }
#pragma GCC unroll 7
            for (int x = 0; x < QUARTER; x++) {
                store(products + (spot * QUARTER + x) * SECOND + c, left[x]);
                store(products + (spot * QUARTER + x) * SECOND + c + LANES, right[x]);
            }
        }
}

static void convolve_second(Trace *trace, const float *weight, const float *bias, Inputs *inputs) {
    enum { WINDOWS = QUARTER * QUARTER };
    float products[SPOTS * QUARTER * SECOND], value[WINDOWS * SECOND];
    int32_t place[WINDOWS * SECOND];
    for (int y = 0; y < QUARTER; y++) {
        multiply_windows(trace->maps + 2 * y * EDGE * FIRST, weight, products);
        for (int x = 0; x < QUARTER; x++)
            for (int c = 0; c < SECOND; c += LANES) {
                vec m[SPOTS], half[2 * TILE], window[4], best = {0};
                ints where = {0};
#pragma GCC unroll 16
                for (int spot = 0; spot < SPOTS; spot++)
                    m[spot] = load(products + (spot * QUARTER + x) * SECOND + c);
#pragma GCC unroll 4
                for (int j = 0; j < TILE; j++) filter_values(m + j, TILE, half + j, TILE);
#pragma GCC unroll 2
                for (int i = 0; i < 2; i++) filter_values(half + TILE * i, 1, window + 2 * i, 1);
#pragma GCC unroll 4
                for (int pixel = 0; pixel < 4; pixel++) {
                    int down = pixel >> 1, right = 2 * x + (pixel & 1);
                    ints wins = pixel ? larger(window[pixel], best) : ~(ints){0};
                    best = pick(wins, window[pixel], best);
                    where = (wins & ((2 * y + down) * EDGE + right)) | (~wins & where);
                }
                store(value + (y * QUARTER + x) * SECOND + c, best + load(bias + c));
                *(ints *)(place + (y * QUARTER + x) * SECOND + c) = where;
            }
    }
    uint16_t *input = inputs->input;
    int count = 0;
    for (int c = 0; c < SECOND; c++)
        for (int window = 0; window < WINDOWS; window++) {
            const int at = window * SECOND + c;
            input[count] = (uint16_t)(c * WINDOWS + window);
            inputs->value[count] = value[at];
            trace->place[count] = (uint16_t)place[at];
            count += !(value[at] <= 0);
        }
    input[count] = MAPS;
    inputs->count = count;
    inputs->background = 0;
}

/* What the convolutions make of an image; `trace`, whose border is zero, remembers the way. */
static void convolve(const float *image, const float *vector, const Layout *at, const Kernels *k,
                     Trace *trace, Inputs *inputs) {
    float padded[PADDED * PADDED];
    pad(image, padded);
    convolve_first(padded, k->weight1, vector + at->bias1, trace);
    convolve_second(trace, k->forward2, vector + at->bias2, inputs);
}

/* Adds the gradients of the second convolution to `k`; leaves that of its input in `d_maps`. */
static void back_second(const Trace *trace, const Inputs *inputs, Kernels *k, float *d_maps) {
    enum { WINDOWS = QUARTER * QUARTER };
    const float *delta = inputs->gradient;
    const uint16_t *input = inputs->input;
    memset(d_maps, 0, sizeof(float) * EDGE * EDGE * FIRST);
    for (int out = 0, begin = 0, end = 0; out < SECOND; out++, begin = end) {
        while (input[end] < (out + 1) * WINDOWS) k->d_bias2[out] += delta[end++];
        for (int c = 0; c < FIRST; c += LANES) {
            float *d_weight = k->d_weight2 + out * TAPS * FIRST + c;
            vec w[TAPS], d_w[TAPS];
#pragma GCC unroll 9
            for (int tap = 0; tap < TAPS; tap++) {
                w[tap] = load(k->backward2 + (out * TAPS + tap) * FIRST + c);
                d_w[tap] = load(d_weight + tap * FIRST);
            }
            for (int i = begin; i < end; i++) {
                const float *at = trace->maps + trace->place[i] * FIRST + c;
                float *d_at = d_maps + trace->place[i] * FIRST + c;
#pragma GCC unroll 9
                for (int tap = 0; tap < TAPS; tap++) {
                    int offset = (tap / 3 * EDGE + tap % 3) * FIRST;
                    d_w[tap] += delta[i] * load(at + offset);
                    store(d_at + offset, load(d_at + offset) + delta[i] * w[tap]);
                }
            }
#pragma GCC unroll 9
            for (int tap = 0; tap < TAPS; tap++) store(d_weight + tap * FIRST, d_w[tap]);
        }
    }
}

/* Adds the gradients of the first convolution to `k`. */
static void back_first(const Trace *trace, const float *padded, const float *d_maps, Kernels *k) {
    for (int c = 0; c < FIRST; c += LANES) {
        vec d_w[TAPS], d_b = load(k->d_bias1 + c);
#pragma GCC unroll 9
        for (int tap = 0; tap < TAPS; tap++) d_w[tap] = load(k->d_weight1 + tap * FIRST + c);
        for (int y = 0; y < HALF; y++)
            for (int x = 0; x < HALF; x++) {
                int map = ((y + 1) * EDGE + x + 1) * FIRST + c;
                vec delta = (vec)(~dead(load(trace->maps + map)) & (ints)load(d_maps + map));
                ints winner = __builtin_convertvector(
                    *(const bytes *)(trace->winner + (y * HALF + x) * FIRST + c), ints);
                d_b += delta;
#pragma GCC unroll 4
                for (int pixel = 0; pixel < 4; pixel++) {
                    const float *at =
                        padded + (2 * y + (pixel >> 1)) * PADDED + 2 * x + (pixel & 1);
                    vec mine = (vec)((winner == pixel) & (ints)delta);
#pragma GCC unroll 9
                    for (int tap = 0; tap < TAPS; tap++)
                        d_w[tap] += at[tap / 3 * PADDED + tap % 3] * mine;
                }
            }
        store(k->d_bias1 + c, d_b);
#pragma GCC unroll 9
        for (int tap = 0; tap < TAPS; tap++) store(k->d_weight1 + tap * FIRST + c, d_w[tap]);
    }
}

/* out[i][j] = bias[j] + a[i] . b[j], rows of `inner` numbers, i below m and j below n. */
static void rows_by_rows(const float *a, long m, const float *b, long n, long inner,
                         const float *bias, float *out) {
    for (long j = 0; j < n; j += DOTS)
        for (long i = 0; i < m; i += DOTS) {
            const float *x[DOTS], *y[DOTS]; /* past the end, the last row again */
            vec total[DOTS * DOTS];
            float dots[DOTS * DOTS];
            for (int r = 0; r < DOTS; r++) {
                x[r] = a + least(i + r, m - 1) * inner;
                y[r] = b + least(j + r, n - 1) * inner;
            }
#pragma GCC unroll 16
            for (int d = 0; d < DOTS * DOTS; d++) total[d] = (vec){0};
            for (long k = 0; k < inner; k += LANES)
#pragma GCC unroll 16
                for (int d = 0; d < DOTS * DOTS; d++)
                    total[d] += load(x[d / DOTS] + k) * load(y[d % DOTS] + k);
#pragma GCC unroll 16
            for (int d = 0; d < DOTS * DOTS; d++) dots[d] = sum(total[d]);
            for (int r = 0; r < DOTS && i + r < m; r++)
                for (int s = 0; s < DOTS && j + s < n; s++)
                    out[(i + r) * n + j + s] = bias[j + s] + dots[r * DOTS + s];
        }
}

/* ---- the hidden layer ---- */

/* Room for the entries of an image from the input `from` on, for the thread `rank`. */
static void give_room(const Job *job, long image, long from, int rank, Inputs *inputs) {
    const long at = image * job->room + from + rank; /* a thread's last entry has no input */
    inputs->input = job->all.input + at;
    inputs->value = job->all.value + at;
    inputs->gradient = job->network.convolutional ? job->all.gradient + at : NULL;
}

/* The first entry of an input from `input` on. */
static int first_from(const Inputs *inputs, long input) {
    int low = 0, high = inputs->count;
    while (low < high) {
        const int middle = (low + high) / 2;
        if (inputs->input[middle] < input)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

/* The pixels from `from` to `to` of an image that are not what its first one is, bit for bit. */
static void read_pixels(const float *image, long from, long to, Inputs *inputs) {
    const float background = isfinite(image[0]) ? image[0] : 0;
    uint16_t *input = inputs->input;
    float *value = inputs->value;
    uint32_t bits[PIXEL_COUNT], dark;
    int count = 0;
    memcpy(bits, image, sizeof bits);
    memcpy(&dark, &background, sizeof dark);
    for (long pixel = from; pixel < to; pixel++) {
        input[count] = (uint16_t)pixel;
        value[count] = image[pixel] - background;
        count += bits[pixel] != dark;
    }
    input[count] = PIXEL_COUNT;
    inputs->count = count;
    inputs->background = background;
}

/* What the inputs from `from` to `to` of `m` images give to the units (m, units). */
static void hide(const Network *network, const Layout *at, const float *vector,
                 const Inputs *inputs, long m, long from, long to, int *next, float *hidden) {
    const long units = network->hidden;
    memset(hidden, 0, sizeof(float) * (size_t)(m * units));
    for (long u = 0; u < units; u += STRETCH) {
        const float *weight = vector + at->hidden_weight + u;
        vec all[WIDE] = {0}; /* what a background of 1 gives */
        for (long i = 0; i < m; i++) next[i] = first_from(inputs + i, from);
        for (long band = from; band < to; band += BAND) {
            const long end = least(band + BAND, to);
            for (long j = band; j < end; j++)
#pragma GCC unroll 8
                for (int v = 0; v < WIDE; v++) all[v] += load(weight + j * units + v * LANES);
            for (long i = 0; i < m; i++) {
                float *sums = hidden + i * units + u;
                vec total[WIDE];
                const uint16_t *input = inputs[i].input;
                const float *value = inputs[i].value;
                int n = next[i];
#pragma GCC unroll 8
                for (int v = 0; v < WIDE; v++) total[v] = load(sums + v * LANES);
                for (; input[n] < end; n++) {
                    const float *row = weight + input[n] * units;
#pragma GCC unroll 8
                    for (int v = 0; v < WIDE; v++) total[v] += value[n] * load(row + v * LANES);
                }
#pragma GCC unroll 8
                for (int v = 0; v < WIDE; v++) store(sums + v * LANES, total[v]);
                next[i] = n;
            }
        }
        for (long i = 0; i < m; i++)
#pragma GCC unroll 8
            for (int v = 0; v < WIDE; v++) {
                float *sums = hidden + i * units + u + v * LANES;
                store(sums, load(sums) + inputs[i].background * all[v]);
            }
    }
}

/* The units of an image: ReLU of their biases and of what each of `parts` gives, `apart` from each
 * other. */
static void finish_units(const Network *network, const Layout *at, const float *vector,
                         const float *given, int parts, long apart, float *hidden) {
    for (long u = 0; u < network->hidden; u += LANES) {
        vec total = load(vector + at->hidden_bias + u);
        for (int part = 0; part < parts; part++) total += load(given + part * apart + u);
        store(hidden + u, relu(total));
    }
}

/* ---- a step ---- */

/* The outputs for `m` images, from what the last layer reads of them. */
static void answer(const Network *network, const Layout *at, const float *vector, const float *last,
                   long m, float *logits) {
    rows_by_rows(last, m, vector + at->weight, CLASSES, at->last, vector + at->bias, logits);
    if (network->sigmoid)
        for (long i = 0; i < m * CLASSES; i++) logits[i] = 1 / (1 + expf(-logits[i]));
}

/* The gradient of the mean cross-entropy for the outputs: (softmax - one-hot) / batch. */
static void error(const Network *network, const float *logits, int64_t label, long batch, float *d) {
    float most = logits[0], total = 0;
    for (int c = 1; c < CLASSES; c++) most = logits[c] > most ? logits[c] : most;
    for (int c = 0; c < CLASSES; c++) total += d[c] = expf(logits[c] - most);
    for (int c = 0; c < CLASSES; c++) d[c] = (d[c] / total - (c == label)) / batch;
    if (network->sigmoid)
        for (int c = 0; c < CLASSES; c++) d[c] *= logits[c] * (1 - logits[c]);
}

/* Adam with PyTorch's defaults on `count` parameters from `from` on, whose gradient is `g`. */
static void adam(Job *job, Rates rates, long from, long count, const float *restrict g) {
    float *restrict p = job->vector + from, *restrict m = job->mean + from;
    float *restrict v = job->square + from;
    for (long i = 0; i < count; i++) {
        m[i] += 0.1f * (g[i] - m[i]);
        v[i] = 0.999f * v[i] + 0.001f * g[i] * g[i];
        p[i] -= rates.size * m[i] / (sqrtf(v[i]) * rates.scale + 1e-8f);
    }
}

/* Sorts the entries of `n` images from the input `band` to `end` by input: where each image goes on is
 * in `next`, how many entries an input has in `count`. */
static void sort_by_input(const Inputs *inputs, long n, long band, long end, int *next,
                          Reader *readers, int *count) {
    memset(count, 0, sizeof(int) * BAND);
    for (long i = 0; i < n; i++) {
        const uint16_t *input = inputs[i].input;
        const float *value = inputs[i].value;
        int j = next[i];
        for (; input[j] < end; j++) {
            const long row = input[j] - band;
            readers[row * n + count[row]++] = (Reader){value[j], (int)i, j};
        }
        next[i] = j;
    }
}

/* Adds the gradient of an input's weights, STRETCH units from `u` on, to `gradient`; if `back`, adds
 * those of its entries to theirs. */
static inline void back_row(const float *weight, const Reader *readers, int count,
                            const float *d_hidden, long units, long u, float *gradient, int back,
                            Inputs *inputs) {
    vec total[WIDE], w[WIDE];
#pragma GCC unroll 8
    for (int v = 0; v < WIDE; v++) {
        total[v] = load(gradient + u + v * LANES);
        w[v] = load(weight + u + v * LANES);
    }
    for (int j = 0; j < count; j++) {
        const float *d = d_hidden + readers[j].image * units + u;
        vec even = {0}, odd = {0};
#pragma GCC unroll 4
        for (int v = 0; v < WIDE; v += 2) {
            const vec here = load(d + v * LANES), there = load(d + (v + 1) * LANES);
            total[v] += readers[j].value * here;
            total[v + 1] += readers[j].value * there;
            if (back) even += w[v] * here, odd += w[v + 1] * there;
        }
        if (back) {
            float *to = inputs[readers[j].image].gradient + readers[j].entry;
            *to = (u ? *to : 0) + sum(even + odd);
        }
    }
#pragma GCC unroll 8
    for (int v = 0; v < WIDE; v++) store(gradient + u + v * LANES, total[v]);
}

/* A step of the weights of the inputs from `from` to `to`, for a batch of `n` images; before it, for a
 * convolutional network, the gradients of the inputs' entries. */
static void learn_hidden(Job *job, Rates rates, long from, long to, long n, Inputs *inputs,
                         Reader *readers, int *next) {
    const long units = job->network.hidden;
    float all[MOST_UNITS] = {0}, gradient[MOST_UNITS]; /* all: of an input that is background */
    for (long i = 0; i < n; i++) {
        next[i] = first_from(inputs + i, from);
        for (long u = 0; u < units; u++)
            all[u] += inputs[i].background * job->d_hidden[i * units + u];
    }
    for (long band = from; band < to; band += BAND) {
        const long end = least(band + BAND, to);
        int count[BAND];
        sort_by_input(inputs, n, band, end, next, readers, count);
        for (long row = band; row < end; row++) {
            const long at = job->at.hidden_weight + row * units;
            const Reader *first = readers + (row - band) * n;
            memcpy(gradient, all, sizeof(float) * (size_t)units);
            for (long u = 0; u < units; u += STRETCH)
                back_row(job->vector + at, first, count[row - band], job->d_hidden, units, u,
                         gradient, job->network.convolutional, inputs);
            adam(job, rates, at, units, gradient);
        }
    }
}

static void meet(Job *job, int threads) {
    int turn = atomic_load(&job->turn);
    if (atomic_fetch_add(&job->arrived, 1) == threads - 1) {
        atomic_store(&job->arrived, 0);
        atomic_store(&job->turn, turn + 1);
        return;
    }
    for (int spins = 0; atomic_load(&job->turn) == turn; spins++)
        if (spins > 2000) sched_yield();
}

static void add_kernel_gradients(Job *job, int threads) {
    float *g = job->gradient;
    const Layout *at = &job->at;
    memset(g, 0, sizeof(float) * (size_t)(at->bias2 + SECOND));
    for (int t = 0; t < threads; t++) {
        const Kernels *k = job->kernels + t;
        for (int out = 0; out < FIRST; out++) {
            g[at->bias1 + out] += k->d_bias1[out];
            for (int tap = 0; tap < TAPS; tap++)
                g[at->weight1 + out * TAPS + tap] += k->d_weight1[tap * FIRST + out];
        }
        for (int out = 0; out < SECOND; out++) {
            g[at->bias2 + out] += k->d_bias2[out];
            for (int in = 0; in < FIRST; in++)
                for (int tap = 0; tap < TAPS; tap++)
                    g[at->weight2 + (out * FIRST + in) * TAPS + tap] +=
                        k->d_weight2[(out * TAPS + tap) * FIRST + in];
        }
    }
}

/* A step of the last layer and of the hidden layer's biases, for a batch of `n` images. */
static void learn_last(Job *job, Rates rates, const float *seen, long n) {
    const Layout *at = &job->at;
    const long units = job->network.hidden, width = at->last;
    const long first = units ? at->hidden_bias : at->weight;
    float *g = job->gradient;
    for (long u = 0; u < units; u += LANES) {
        vec total = {0};
        for (long i = 0; i < n; i++) total += load(job->d_hidden + i * units + u);
        store(g + at->hidden_bias + u, total);
    }
    for (long u = 0; u < width; u += LANES) {
        vec total[CLASSES] = {0};
        for (long i = 0; i < n; i++)
#pragma GCC unroll 10
            for (int c = 0; c < CLASSES; c++)
                total[c] += job->d_logits[i * CLASSES + c] * load(seen + i * width + u);
#pragma GCC unroll 10
        for (int c = 0; c < CLASSES; c++) store(g + at->weight + c * width + u, total[c]);
    }
    memset(g + at->bias, 0, sizeof(float) * CLASSES);
    for (long i = 0; i < n * CLASSES; i++) g[at->bias + i % CLASSES] += job->d_logits[i];
    adam(job, rates, first, at->end - first, g + first);
}

static void step(Job *job, int rank, int threads, long begin) {
    const Network *network = &job->network;
    const Layout *at = &job->at;
    const long n = least(job->batch, job->count - begin), units = network->hidden;
    const long from = part(n, rank, threads), to = part(n, rank + 1, threads);
    const long input = part(at->features, rank, threads), end = part(at->features, rank + 1, threads);
    const float *images = job->images + begin * PIXEL_COUNT;
    const float *seen = units ? job->hidden : images; /* by the last layer */
    float *logits = job->logits + begin * CLASSES;
    Inputs *inputs = job->inputs + (network->convolutional ? 0 : rank * job->batch);
    int *next = job->next + rank * job->batch;
    Kernels *k = job->kernels + rank;
    const Rates rates = rates_of(job, job->steps + begin / job->batch + 1);

    if (network->convolutional) {
        memset(k, 0, sizeof *k);
        order_kernels(job->vector, at, k);
        for (long i = from; i < to; i++) {
            give_room(job, i, 0, 0, inputs + i);
            convolve(images + i * PIXEL_COUNT, job->vector, at, k, job->traces + i, inputs + i);
        }
        meet(job, threads);
    } else if (units)
        for (long i = 0; i < n; i++) {
            give_room(job, i, input, rank, inputs + i);
            read_pixels(images + i * PIXEL_COUNT, input, end, inputs + i);
        }
    if (units) {
        const long apart = job->batch * units;
        hide(network, at, job->vector, inputs, n, input, end, next, job->partial + rank * apart);
        meet(job, threads);
        for (long i = from; i < to; i++)
            finish_units(network, at, job->vector, job->partial + i * units, threads, apart,
                         job->hidden + i * units);
    }
    answer(network, at, job->vector, seen + from * at->last, to - from, logits + from * CLASSES);
    for (long i = from; i < to; i++) {
        float *d = job->d_logits + i * CLASSES, *d_hidden = job->d_hidden + i * units;
        error(network, logits + i * CLASSES, job->labels[begin + i], n, d);
        for (long u = 0; u < units; u += LANES) {
            vec total = {0};
#pragma GCC unroll 10
            for (int c = 0; c < CLASSES; c++)
                total += d[c] * load(job->vector + at->weight + c * units + u);
            store(d_hidden + u, pick(dead(load(job->hidden + i * units + u)), (vec){0}, total));
        }
    }
    meet(job, threads);

    if (units)
        learn_hidden(job, rates, input, end, n, inputs, job->readers + rank * BAND * job->batch,
                     next);
    if (rank == 0) learn_last(job, rates, seen, n);
    if (network->convolutional) {
        float padded[PADDED * PADDED], d_maps[EDGE * EDGE * FIRST];
        meet(job, threads);
        for (long i = from; i < to; i++) {
            pad(images + i * PIXEL_COUNT, padded);
            back_second(job->traces + i, inputs + i, k, d_maps);
            back_first(job->traces + i, padded, d_maps, k);
        }
        meet(job, threads);
        if (rank == threads - 1) {
            add_kernel_gradients(job, threads);
            adam(job, rates, 0, at->bias2 + SECOND, job->gradient);
        }
    }
    meet(job, threads);
}

/* ---- what Python calls ---- */

enum { BLOCK = 16 /* images that are answered at a time */ };

static void learn_as(void *data, int rank, int threads) {
    Job *job = data;
    const unsigned before = flush_tiny_floats(); /* Adam's means of a dead unit fade into them */
    if (job->network.convolutional)
        for (long i = part(job->batch, rank, threads); i < part(job->batch, rank + 1, threads); i++)
            memset(job->traces[i].maps, 0, sizeof job->traces[i].maps);
    meet(job, threads);
    for (long begin = 0; begin < job->count; begin += job->batch) step(job, rank, threads, begin);
    restore_floats(before);
}

static void answer_as(void *data, int rank, int threads) {
    Job *job = data;
    const Network *network = &job->network;
    const Layout *at = &job->at;
    const long end = part(job->count, rank + 1, threads);
    const long own = rank * BLOCK, units = network->hidden;
    Inputs *inputs = job->inputs + own;
    float *partial = job->partial + own * units, *hidden = job->hidden + own * units;
    Trace *trace = job->traces + rank;
    Kernels *k = job->kernels + rank;
    if (network->convolutional) {
        memset(trace->maps, 0, sizeof trace->maps);
        order_kernels(job->vector, at, k);
    }
    for (long i = part(job->count, rank, threads); i < end; i += BLOCK) {
        const long n = least(BLOCK, end - i);
        const float *images = job->images + i * PIXEL_COUNT;
        for (long j = 0; units && j < n; j++) {
            give_room(job, own + j, 0, 0, inputs + j);
            if (network->convolutional)
                convolve(images + j * PIXEL_COUNT, job->vector, at, k, trace, inputs + j);
            else
                read_pixels(images + j * PIXEL_COUNT, 0, PIXEL_COUNT, inputs + j);
        }
        if (units)
            hide(network, at, job->vector, inputs, n, 0, at->features, job->next + own, partial);
        for (long j = 0; j < n; j++)
            finish_units(network, at, job->vector, partial + j * units, 1, 0, hidden + j * units);
        answer(network, at, job->vector, units ? hidden : images, n, job->logits + i * CLASSES);
    }
}

/* The next `count` values of `size` bytes of a block that begins at `block`, if it is there yet. */
static void *take(char *block, size_t *taken, size_t count, size_t size) {
    void *here = block ? block + *taken : NULL;
    *taken += (count * size + 63) / 64 * 64;
    return here;
}

/* Gives `job` its memory, with room for `n` images, and does it. 0, or -1 for no memory. */
static int run(Job *job, size_t n, size_t traces, int threads, Pool pool, Work work) {
    const size_t units = (size_t)job->network.hidden, convolutional = job->network.convolutional;
    const size_t most = (size_t)least(threads, MOST_THREADS), each = units ? most * n : 0;
    job->room = job->at.features + MOST_THREADS;
    const size_t entries = units ? n * (size_t)job->room : 0;
    char *block = NULL;
    for (int pass = 0; pass < 2; pass++) { /* first to measure, then to hand out */
        size_t taken = 0;
        job->gradient = take(block, &taken, (size_t)job->at.end, sizeof(float));
        job->hidden = take(block, &taken, n * units, sizeof(float));
        job->d_hidden = take(block, &taken, n * units, sizeof(float));
        job->d_logits = take(block, &taken, n * CLASSES, sizeof(float));
        job->inputs = take(block, &taken, each, sizeof(Inputs));
        job->all.input = take(block, &taken, entries, sizeof(uint16_t));
        job->all.value = take(block, &taken, entries, sizeof(float));
        job->all.gradient = take(block, &taken, convolutional ? entries : 0, sizeof(float));
        job->partial = take(block, &taken, each * units, sizeof(float));
        job->readers = take(block, &taken, each * BAND, sizeof(Reader));
        job->next = take(block, &taken, each, sizeof(int));
        job->traces = take(block, &taken, convolutional ? traces : 0, sizeof(Trace));
        job->kernels = take(block, &taken, convolutional ? most : 0, sizeof(Kernels));
        if (pass == 0 && !(block = aligned_alloc(64, taken))) return -1;
    }
    in_threads(threads, &pool, work, job);
    free(block);
    return 0;
}

/* A step for each batch of `count` images; `logits` gets the outputs before each step. `steps` were
 * taken before. Returns 0, or -1 if there is no memory. */
int learn(Network network, float *vector, float *mean, float *square, long steps,
          double learning_rate, const float *images, const int64_t *labels, long count, long batch,
          int threads, Pool pool, float *logits) {
    Job job = {.network = network, .at = lay_out(network), .vector = vector, .mean = mean,
               .square = square, .steps = steps, .learning_rate = learning_rate, .images = images,
               .labels = labels, .count = count, .batch = least(batch, count), .logits = logits};
    const size_t n = (size_t)job.batch;
    return run(&job, n, n, threads, pool, learn_as);
}

/* The outputs for `count` images. Returns 0, or -1 if there is no memory. */
int predict(Network network, float *vector, const float *images, long count, int threads,
            Pool pool, float *logits) {
    Job job = {.network = network, .at = lay_out(network), .vector = vector, .images = images,
               .count = count, .logits = logits};
    const size_t most = (size_t)least(threads, MOST_THREADS);
    return run(&job, most * BLOCK, most, threads, pool, answer_as);
}
