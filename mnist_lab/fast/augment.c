/* Digits rotated, distorted and normalised: what augment.py says in tensors, image by image.
 *
 * Both maps read a pixel's place first, for several pixels at a time, and then the pixels there, which
 * are bytes in the first cache; interpolation finds the four that it needs in one word.
 */
#include <stdint.h>
#include <string.h>

#include "threads.h"
#include "vectors.h"

enum {
    SIDE = 28, PIXELS = SIDE * SIDE,
    BORDER = 2, STRIDE = SIDE + 2 * BORDER, PADDED = STRIDE * STRIDE, /* with black around it */
};

/* An image's rotation and, if it is distorted, the map from the pixels' centres to where they come
 * from: x' = (a x + b y + c) / (g x + h y + 1), y' = (d x + e y + f) / (g x + h y + 1). */
typedef struct {
    float cosine, sine, distorted, a, b, c, d, e, f, g, h;
} Warp;

typedef struct {
    const uint8_t *images;
    const Warp *warps;
    long count;
    float scale, shift; /* from bytes to normalised pixels */
    float *out;
    float x[PIXELS], y[PIXELS]; /* of each pixel */
} Job;

/* A coordinate in the bordered image: from 0 to 30, where it is as black as further out. What is no
 * number is 0. */
static inline vec bordered(vec x) {
    const vec low = {0}, high = (vec){0} + (SIDE + BORDER);
    x += BORDER;
    x = pick(x > low, x, low);
    return pick(x < high, x, high);
}

static void pad(const uint8_t *image, uint8_t *padded) {
    for (int y = 0; y < SIDE; y++)
        memcpy(padded + (y + BORDER) * STRIDE + BORDER, image + y * SIDE, SIDE);
}

/* By nearest neighbour. */
static void rotate(const Job *job, const Warp *warp, const uint8_t *padded, uint8_t *to) {
    const float centre = (SIDE - 1) / 2.0f;
    int32_t place[PIXELS];
    for (int i = 0; i < PIXELS; i += LANES) {
        vec x = load(job->x + i) - centre, y = load(job->y + i) - centre;
        vec from_x = bordered(warp->cosine * x + warp->sine * y + centre);
        vec from_y = bordered(warp->cosine * y - warp->sine * x + centre);
        ints column = __builtin_convertvector(from_x + 0.5f, ints);
        ints row = __builtin_convertvector(from_y + 0.5f, ints);
        *(ints *)(place + i) = row * STRIDE + column;
    }
    for (int i = 0; i < PIXELS; i++) to[i] = padded[place[i]];
}

/* By bilinear interpolation. */
static void distort(const Job *job, const Warp *warp, const uint8_t *padded, float *to) {
    uint32_t squares[PADDED]; /* a pixel, the next, and the two below them */
    int32_t place[PIXELS];
    float right[PIXELS], down[PIXELS];
    for (int i = 0; i < PADDED - STRIDE - 1; i++)
        squares[i] = padded[i] | padded[i + 1] << 8 | padded[i + STRIDE] << 16 |
                     (uint32_t)padded[i + STRIDE + 1] << 24;
    for (int i = 0; i < PIXELS; i += LANES) {
        vec x = load(job->x + i) + 0.5f, y = load(job->y + i) + 0.5f;
        vec under = warp->g * x + warp->h * y + 1;
        vec from_x = bordered((warp->a * x + warp->b * y + warp->c) / under - 0.5f);
        vec from_y = bordered((warp->d * x + warp->e * y + warp->f) / under - 0.5f);
        ints column = __builtin_convertvector(from_x, ints);
        ints row = __builtin_convertvector(from_y, ints);
        store(right + i, from_x - __builtin_convertvector(column, vec));
        store(down + i, from_y - __builtin_convertvector(row, vec));
        *(ints *)(place + i) = row * STRIDE + column;
    }
    for (int i = 0; i < PIXELS; i++) place[i] = (int32_t)squares[place[i]];
    for (int i = 0; i < PIXELS; i += LANES) {
        const ints square = *(const ints *)(place + i);
        vec corner[4];
#pragma GCC unroll 4
        for (int j = 0; j < 4; j++)
            corner[j] = __builtin_convertvector(square >> 8 * j & 255, vec);
        vec above = corner[0] + load(right + i) * (corner[1] - corner[0]);
        vec below = corner[2] + load(right + i) * (corner[3] - corner[2]);
        vec value = above + load(down + i) * (below - above);
        store(to + i, value * job->scale + job->shift);
    }
}

static void augment_as(void *data, int rank, int threads) {
    const Job *job = data;
    uint8_t padded[PADDED] = {0}, turned[PIXELS];
    for (long n = part(job->count, rank, threads); n < part(job->count, rank + 1, threads); n++) {
        const Warp *warp = job->warps + n;
        float *to = job->out + n * PIXELS;
        pad(job->images + n * PIXELS, padded);
        rotate(job, warp, padded, turned);
        if (warp->distorted) {
            pad(turned, padded);
            distort(job, warp, padded, to);
        } else
            for (int i = 0; i < PIXELS; i += LANES) {
                vec value = __builtin_convertvector(*(const bytes *)(turned + i), vec);
                store(to + i, value * job->scale + job->shift);
            }
    }
}

/* Warps `count` images (28, 28) and normalises them: `out` gets byte * scale + shift. */
void augment(const uint8_t *images, const Warp *warps, long count, float scale, float shift,
             int threads, Pool pool, float *out) {
    Job job = {.images = images, .warps = warps, .count = count, .scale = scale, .shift = shift,
               .out = out};
    for (int i = 0; i < PIXELS; i++) job.x[i] = i % SIDE, job.y[i] = i / SIDE;
    in_threads(threads, &pool, augment_as, &job);
}
