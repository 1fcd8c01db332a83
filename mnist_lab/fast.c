/* Training steps and answers of the lab's three networks, for the CPU this is compiled on.
 *
 * The same mathematics as models.py under Adam and the mean cross-entropy. What makes it fast:
 *   - an image goes through both convolutions in the first cache, channels beside each other;
 *   - the four values of a pooling window are convolved together, by Winograd's minimal filtering;
 *   - max pooling hands its gradient to one pixel in four and ReLU to about half of those: going
 *     back, the convolutions visit these pixels only;
 *   - a step is one pass of a few threads over shared memory, with four meetings.
 * A network is [[two convolutions] -> a hidden layer of ReLUs] -> 10 outputs [-> sigmoid]; what is in
 * brackets may be missing.
 */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "threads.h"
#include "vectors.h"

#if LANES == 8
enum { ROWS = 2 };
#else
enum { ROWS = 4 };
#endif
/* ROWS of a product are summed at a time: what the registers hold. */

typedef float quad __attribute__((vector_size(16)));

enum {
    SIDE = 28, HALF = 14, QUARTER = 7,  /* of an image, after one and after two poolings */
    PADDED = SIDE + 2, EDGE = HALF + 2, /* with the zeros around it */
    FIRST = 16, SECOND = 32,            /* channels of the two convolutions */
    TAPS = 9,                           /* weights of a 3x3 kernel */
    TILE = 4, SPOTS = TILE * TILE,      /* pixels that a pooling window of convolutions reads */
    PIXEL_COUNT = SIDE * SIDE, MAPS = SECOND * QUARTER * QUARTER, CLASSES = 10,
    COLUMNS = 7,                        /* vectors of a row that a product sums at a time */
    DOTS = 4,                           /* rows by rows that are multiplied at a time */
};

typedef struct {
    int convolutional, hidden, sigmoid; /* hidden: the number of ReLUs, 0 for none */
} Network;

/* Where each parameter lies in the vector of all, in the order of the model's own. */
typedef struct {
    long weight1, bias1, weight2, bias2, hidden_weight, hidden_bias, weight, bias, end;
    int features, last; /* width of what the dense layers read, and of what the outputs read */
} Layout;

/* What the backward pass needs to know of an image's way through the convolutions. */
typedef struct {
    float maps[EDGE * EDGE * FIRST];     /* after the first pooling and ReLU, zeros around */
    uint8_t winner[HALF * HALF * FIRST]; /* which of the four pixels was the largest */
    uint16_t place[MAPS];                /* where in `maps` the largest pixel's window begins */
} Trace;

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
    float *gradient, *features, *hidden, *d_logits, *d_hidden, *d_features;
    Trace *traces;
    Kernels *kernels; /* one a thread */
    atomic_int arrived, turn;
} Job;

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

static void convolve_second(Trace *trace, const float *weight, const float *bias, float *features) {
    float products[SPOTS * QUARTER * SECOND], value[SECOND];
    int32_t place[SECOND];
    for (int y = 0; y < QUARTER; y++) {
        multiply_windows(trace->maps + 2 * y * EDGE * FIRST, weight, products);
        for (int x = 0; x < QUARTER; x++) {
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
                store(value + c, relu(best + load(bias + c)));
                *(ints *)(place + c) = where;
            }
            for (int c = 0; c < SECOND; c++) {
                int feature = (c * QUARTER + y) * QUARTER + x;
                features[feature] = value[c];
                trace->place[feature] = (uint16_t)place[c];
            }
        }
    }
}

/* The features (1568) of an image; `trace`, whose border is zero, remembers the way. */
static void convolve(const float *image, const float *vector, const Layout *at, const Kernels *k,
                     Trace *trace, float *features) {
    float padded[PADDED * PADDED];
    pad(image, padded);
    convolve_first(padded, k->weight1, vector + at->bias1, trace);
    convolve_second(trace, k->forward2, vector + at->bias2, features);
}

/* Adds the gradients of the second convolution to `k`; leaves that of its input in `d_maps`. */
static void back_second(const Trace *trace, const float *features, const float *d_features,
                        Kernels *k, float *d_maps) {
    enum { WINDOWS = QUARTER * QUARTER };
    memset(d_maps, 0, sizeof(float) * EDGE * EDGE * FIRST);
    for (int out = 0; out < SECOND; out++) {
        float delta[WINDOWS + 1];
        int place[WINDOWS + 1], alive = 0;
        for (int window = 0; window < WINDOWS; window++) {
            int feature = out * WINDOWS + window;
            delta[alive] = d_features[feature];
            place[alive] = trace->place[feature] * FIRST;
            alive += !(features[feature] <= 0) & (delta[alive] != 0);
        }
        for (int i = 0; i < alive; i++) k->d_bias2[out] += delta[i];
        for (int c = 0; c < FIRST; c += LANES) {
            float *d_weight = k->d_weight2 + out * TAPS * FIRST + c;
            vec w[TAPS], d_w[TAPS];
#pragma GCC unroll 9
            for (int tap = 0; tap < TAPS; tap++) {
                w[tap] = load(k->backward2 + (out * TAPS + tap) * FIRST + c);
                d_w[tap] = load(d_weight + tap * FIRST);
            }
            for (int i = 0; i < alive; i++) {
                const float *at = trace->maps + place[i] + c;
                float *d_at = d_maps + place[i] + c;
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

/* ---- products of matrices ---- */

/* out[i][j] = bias[j] + a[i] . b[j], rows of `inner` numbers, i below m and j from j0 to j1. */
static void rows_by_rows(const float *a, long m, const float *b, long j0, long j1, long inner,
                         const float *bias, float *out, long stride) {
    for (long j = j0; j < j1; j += DOTS)
        for (long i = 0; i < m; i += DOTS) {
            const float *x[DOTS], *y[DOTS]; /* past the end, the last row again */
            vec total[DOTS * DOTS];
            float dots[DOTS * DOTS];
            for (int r = 0; r < DOTS; r++) {
                x[r] = a + least(i + r, m - 1) * inner;
                y[r] = b + least(j + r, j1 - 1) * inner;
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
                for (int s = 0; s < DOTS && j + s < j1; s++)
                    out[(i + r) * stride + j + s] = bias[j + s] + dots[r * DOTS + s];
        }
}

/* out[i] = sum over j of a[i * a_row + j * a_column] * b[j], rows of `width` numbers. */
static void weighted_rows(const float *a, long a_row, long a_column, long m, const float *b, long n,
                          long width, float *out) {
    for (long k = 0; k < width; k += COLUMNS * LANES)
        for (long i = 0; i < m; i += ROWS) {
            vec total[ROWS][COLUMNS] = {0};
            const float *x[ROWS];
            for (int r = 0; r < ROWS; r++) x[r] = a + least(i + r, m - 1) * a_row;
            for (long j = 0; j < n; j++)
#pragma GCC unroll 7
                for (int s = 0; s < COLUMNS; s++) {
                    vec y = load(b + j * width + k + s * LANES);
#pragma GCC unroll 4
                    for (int r = 0; r < ROWS; r++) total[r][s] += x[r][j * a_column] * y;
                }
            for (int r = 0; r < ROWS && i + r < m; r++)
#pragma GCC unroll 7
                for (int s = 0; s < COLUMNS; s++)
                    store(out + (i + r) * width + k + s * LANES, total[r][s]);
        }
}

/* ---- a step ---- */

/* The outputs for `m` images whose features are there; `hidden` has room for the hidden layer. */
static void answer(const Network *network, const Layout *at, const float *vector,
                   const float *features, float *hidden, long m, float *logits) {
    const float *last = network->hidden ? hidden : features;
    rows_by_rows(last, m, vector + at->weight, 0, CLASSES, at->last, vector + at->bias, logits,
                 CLASSES);
    if (network->sigmoid)
        for (long i = 0; i < m * CLASSES; i++) logits[i] = 1 / (1 + expf(-logits[i]));
}

static void hide(const Network *network, const Layout *at, const float *vector,
                 const float *features, long m, long from, long to, float *hidden) {
    long units = network->hidden;
    rows_by_rows(features, m, vector + at->hidden_weight, from, to, at->features,
                 vector + at->hidden_bias, hidden, units);
    for (long i = 0; i < m; i++)
        for (long unit = from; unit < to; unit++)
            hidden[i * units + unit] = hidden[i * units + unit] <= 0 ? 0 : hidden[i * units + unit];
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

/* Adam with PyTorch's defaults on the parameters from `from` to `to`. */
static void adam(Job *job, long step, long from, long to) {
    double first = 1 - pow(0.9, (double)step), second = 1 - pow(0.999, (double)step);
    float size = (float)(job->learning_rate / first), scale = (float)(1 / sqrt(second));
    float *restrict p = job->vector, *restrict m = job->mean, *restrict v = job->square;
    const float *restrict g = job->gradient;
    for (long i = from; i < to; i++) {
        m[i] += 0.1f * (g[i] - m[i]);
        v[i] = 0.999f * v[i] + 0.001f * g[i] * g[i];
        p[i] -= size * m[i] / (sqrtf(v[i]) * scale + 1e-8f);
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

static void step(Job *job, int rank, int threads, long begin) {
    const Network *network = &job->network;
    const Layout *at = &job->at;
    const long n = least(job->batch, job->count - begin), units = network->hidden;
    const long from = part(n, rank, threads), to = part(n, rank + 1, threads);
    const long u0 = part(units, rank, threads), u1 = part(units, rank + 1, threads);
    const float *images = job->images + begin * PIXEL_COUNT;
    const float *features = network->convolutional ? job->features : images;
    float *logits = job->logits + begin * CLASSES;
    Kernels *k = job->kernels + rank;
    float padded[PADDED * PADDED], d_maps[EDGE * EDGE * FIRST];

    if (network->convolutional) {
        memset(k, 0, sizeof *k);
        order_kernels(job->vector, at, k);
        for (long i = from; i < to; i++)
            convolve(images + i * PIXEL_COUNT, job->vector, at, k, job->traces + i,
                     job->features + i * MAPS);
        meet(job, threads);
    }
    if (units) {
        hide(network, at, job->vector, features, n, u0, u1, job->hidden);
        meet(job, threads);
    }
    answer(network, at, job->vector, features + from * at->features, job->hidden + from * units,
           to - from, logits + from * CLASSES);
    for (long i = from; i < to; i++) {
        float *d = job->d_logits + i * CLASSES, *d_hidden = job->d_hidden + i * units;
        error(network, logits + i * CLASSES, job->labels[begin + i], n, d);
        memset(d_hidden, 0, sizeof(float) * (size_t)units);
        for (int c = 0; c < CLASSES; c++)
            for (long unit = 0; unit < units; unit++)
                d_hidden[unit] += d[c] * job->vector[at->weight + c * units + unit];
        for (long unit = 0; unit < units; unit++)
            d_hidden[unit] = job->hidden[i * units + unit] <= 0 ? 0 : d_hidden[unit];
    }
    if (network->convolutional) {
        weighted_rows(job->d_hidden + from * units, units, 1, to - from,
                      job->vector + at->hidden_weight, units, MAPS, job->d_features + from * MAPS);
        for (long i = from; i < to; i++) {
            pad(images + i * PIXEL_COUNT, padded);
            back_second(job->traces + i, job->features + i * MAPS, job->d_features + i * MAPS, k,
                        d_maps);
            back_first(job->traces + i, padded, d_maps, k);
        }
    }
    meet(job, threads);

    const long now = job->steps + begin / job->batch + 1;
    if (units) {
        weighted_rows(job->d_hidden + u0, 1, units, u1 - u0, features, n, at->features,
                      job->gradient + at->hidden_weight + u0 * at->features);
        for (long unit = u0; unit < u1; unit++) {
            float total = 0;
            for (long i = 0; i < n; i++) total += job->d_hidden[i * units + unit];
            job->gradient[at->hidden_bias + unit] = total;
        }
        adam(job, now, at->hidden_weight + u0 * at->features, at->hidden_weight + u1 * at->features);
        adam(job, now, at->hidden_bias + u0, at->hidden_bias + u1);
    }
    if (rank == 0) {
        const float *seen = units ? job->hidden : features;
        for (int c = 0; c < CLASSES; c++) {
            float *g = job->gradient + at->weight + c * at->last, total = 0;
            memset(g, 0, sizeof(float) * (size_t)at->last);
            for (long i = 0; i < n; i++) {
                float d = job->d_logits[i * CLASSES + c];
                for (int j = 0; j < at->last; j++) g[j] += d * seen[i * at->last + j];
                total += d;
            }
            job->gradient[at->bias + c] = total;
        }
        adam(job, now, at->weight, at->end);
    }
    if (network->convolutional && rank == threads - 1) {
        add_kernel_gradients(job, threads);
        adam(job, now, 0, at->bias2 + SECOND);
    }
    meet(job, threads);
}

/* ---- what Python calls ---- */

enum { BLOCK = 16 /* images that are answered at a time */ };

static void learn_as(void *data, int rank, int threads) {
    Job *job = data;
    for (long begin = 0; begin < job->count; begin += job->batch) step(job, rank, threads, begin);
}

static void answer_as(void *data, int rank, int threads) {
    Job *job = data;
    const Network *network = &job->network;
    const Layout *at = &job->at;
    const long end = part(job->count, rank + 1, threads);
    float *own_features = job->features + rank * BLOCK * MAPS;
    float *hidden = job->hidden + rank * BLOCK * network->hidden;
    Kernels *k = job->kernels + rank;
    if (network->convolutional) order_kernels(job->vector, at, k);
    for (long i = part(job->count, rank, threads); i < end; i += BLOCK) {
        const long n = least(BLOCK, end - i);
        const float *features = job->images + i * PIXEL_COUNT;
        for (long j = 0; network->convolutional && j < n; j++)
            convolve(job->images + (i + j) * PIXEL_COUNT, job->vector, at, k, job->traces + rank,
                     own_features + j * MAPS);
        if (network->convolutional) features = own_features;
        if (network->hidden)
            hide(network, at, job->vector, features, n, 0, network->hidden, hidden);
        answer(network, at, job->vector, features, hidden, n, job->logits + i * CLASSES);
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
    const size_t units = (size_t)job->network.hidden;
    const size_t maps = job->network.convolutional ? n * MAPS : 0;
    char *block = NULL, *aligned = NULL;
    for (int pass = 0; pass < 2; pass++) { /* first to measure, then to hand out */
        size_t taken = 0;
        job->gradient = take(aligned, &taken, (size_t)job->at.end, sizeof(float));
        job->hidden = take(aligned, &taken, n * units, sizeof(float));
        job->d_hidden = take(aligned, &taken, n * units, sizeof(float));
        job->d_logits = take(aligned, &taken, n * CLASSES, sizeof(float));
        job->features = take(aligned, &taken, maps, sizeof(float));
        job->d_features = take(aligned, &taken, maps, sizeof(float));
        job->traces = take(aligned, &taken, maps ? traces : 0, sizeof(Trace));
        job->kernels = take(aligned, &taken, (size_t)least(threads, MOST_THREADS), sizeof(Kernels));
        if (pass == 0) {
            block = calloc(1, taken + 64);
            if (!block) return -1;
            aligned = block + (64 - (uintptr_t)block % 64);
        }
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
               .labels = labels, .count = count, .batch = batch, .logits = logits};
    const size_t n = (size_t)least(batch, count);
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
