/* Several numbers at a time: as many as a register of the CPU that this is compiled for holds. */
#include <stdint.h>

#if defined(__AVX512F__)
#define LANES 16
#elif defined(__AVX__)
#define LANES 8
#else
#define LANES 4
#endif

typedef float vec __attribute__((vector_size(4 * LANES), aligned(4), may_alias));
typedef int32_t ints __attribute__((vector_size(4 * LANES), aligned(4), may_alias));
typedef uint8_t bytes __attribute__((vector_size(LANES), aligned(1), may_alias));

static inline vec load(const float *from) { return *(const vec *)from; }
static inline void store(float *to, vec value) { *(vec *)to = value; }
static inline vec pick(ints where, vec yes, vec no) {
    return (vec)((where & (ints)yes) | (~where & (ints)no));
}

/* Has numbers below 1e-38 count as nothing in this thread: an x86 CPU takes longer, some many times as
 * long, over each. Elsewhere nothing changes. Gives what `restore_floats` takes. */
static inline unsigned flush_tiny_floats(void) {
#if defined(__SSE__)
    const unsigned before = __builtin_ia32_stmxcsr(), flush_to_zero = 0x8000, denormals_are_zero = 0x40;
    __builtin_ia32_ldmxcsr(before | flush_to_zero | denormals_are_zero);
    return before;
#else
    return 0;
#endif
}
static inline void restore_floats(unsigned before) {
#if defined(__SSE__)
    __builtin_ia32_ldmxcsr(before);
#else
    (void)before;
#endif
}
