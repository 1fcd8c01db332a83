/* The same work for several threads: PyTorch's, where they are OpenMP's, else our own. */
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>

enum { MOST_THREADS = 16 };

/* What thread `rank`, from 0, of `threads` does. */
typedef void (*Work)(void *data, int rank, int threads);

/* OpenMP's threads, if PyTorch has them: those that wait, spinning, for its next operation would be
 * in the way of threads of our own. GOMP_parallel, omp_get_thread_num and omp_get_num_threads. */
typedef struct {
    void (*in_parallel)(void (*work)(void *), void *data, unsigned threads, unsigned flags);
    int (*rank)(void);
    int (*size)(void);
} Pool;

typedef struct {
    Work work;
    void *data;
    const Pool *pool;
    atomic_int threads; /* 0 until all are there */
} Team;

typedef struct {
    Team *team;
    int rank;
} Worker;

static inline long part(long count, int rank, int threads) { return count * rank / threads; }
static inline long least(long a, long b) { return a < b ? a : b; }

static void work_in_pool(void *data) {
    const Team *team = data;
    const int rank = team->pool->rank(), threads = (int)least(team->pool->size(), MOST_THREADS);
    if (rank < threads) team->work(team->data, rank, threads);
}

static void *work_alone(void *data) {
    const Worker *worker = data;
    int threads;
    while (!(threads = atomic_load(&worker->team->threads))) sched_yield();
    worker->team->work(worker->team->data, worker->rank, threads);
    return NULL;
}

/* Has up to `threads` threads do `work`, MOST_THREADS of them at most: a pool that is asked for fewer
 * than PyTorch asks for would end the others. Fewer do where there are no more. */
static void in_threads(int threads, const Pool *pool, Work work, void *data) {
    Team team = {work, data, pool, 0};
    if (threads > 1 && pool->in_parallel) {
        pool->in_parallel(work_in_pool, &team, (unsigned)threads, 0);
        return;
    }
    pthread_t others[MOST_THREADS];
    Worker workers[MOST_THREADS] = {{&team, 0}};
    int here = 1;
    for (; here < least(threads, MOST_THREADS); here++) {
        workers[here] = (Worker){&team, here};
        if (pthread_create(others + here, NULL, work_alone, workers + here)) break;
    }
    atomic_store(&team.threads, here);
    work_alone(workers);
    for (int thread = 1; thread < here; thread++) pthread_join(others[thread], NULL);
}
