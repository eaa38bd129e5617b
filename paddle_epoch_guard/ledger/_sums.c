/* The sums of window_sums.py over the samples of a log window, compiled: the same arithmetic in one pass, in the same
 * order, so that each sum is the same to the last bit.
 *
 * Optional. Where this was not built numpy computes the same, in some hundred passes.
 */

#define PY_SSIZE_T_CLEAN
#include <Python.h>
#include <stdint.h>
#include <string.h>

#define RULES 3
#define LEVELS 6    /* of exposure, as in exposure.py */
#define RECENCIES 5 /* likewise */
#define MOMENTS 9   /* as in contrast.py */
#define TELLING 4   /* as in exposure.py */
#define RELEASED_FROM (1 << 14) /* fewer samples take less than another thread might keep the interpreter for */

typedef struct {
    const int64_t *time; /* of each traced draw, ascending */
    const int8_t *level, *recency;
    Py_ssize_t draws;
    const int64_t *jumps; /* times, ascending */
    Py_ssize_t jumped;
    const double *share, *between; /* from each jump to the next: of new tokens, and of each level */
    Py_ssize_t shares;
    double nearly_all;
    int complete, is_wrong;
    Py_ssize_t draw, jump; /* where the last sample was found: the next one is mostly near */
    int64_t from, until;   /* the times of the jumps around it */
} Exposure;

/* What is known of a sample, whatever its loss. */
typedef struct {
    double levels[LEVELS], recencies[RECENCIES];
    double repeat; /* the share that is not new */
    int known, wholly_fresh, is_between;
} Shares;

/* Into what the samples of one rule are summed. */
typedef struct {
    double *samples, *weight, *loss, *levels, *recencies, *fresh, *moments;
} Sums;

/* The number of values below `asked`, or of those that are not above it. */
static Py_ssize_t below(const int64_t *values, Py_ssize_t count, int64_t asked, int or_equal)
{
    Py_ssize_t low = 0;
    while (count) {
        Py_ssize_t half = count / 2;
        int64_t value = values[low + half];
        if (value < asked || (or_equal && value == asked)) {
            low += half + 1;
            count -= half + 1;
        }
        else
            count = half;
    }
    return low;
}

/* Without a traced draw a sample has the shares of any other without one between the same two jumps. */
static void find(Exposure *of, int64_t time, Shares *found)
{
    Py_ssize_t near = of->draw;
    if (found->is_between && time >= of->from && time < of->until && (!near || of->time[near - 1] < time)
        && (near == of->draws || of->time[near] > time))
        return;
    memset(found, 0, sizeof *found);
    found->repeat = 1.0;
    if (time < 0)
        return;
    Py_ssize_t first = of->draw;
    if ((first && of->time[first - 1] >= time) || (first < of->draws && of->time[first] < time))
        first = below(of->time, of->draws, time, 0);
    Py_ssize_t last = first;
    while (last < of->draws && of->time[last] == time)
        last++;
    of->draw = last;
    Py_ssize_t jump = of->jump;
    if (!(jump < of->jumped && of->jumps[jump] <= time && (jump + 1 == of->jumped || time < of->jumps[jump + 1])))
        jump = below(of->jumps, of->jumped, time, 1) - 1;
    of->from = jump >= 0 && jump < of->jumped ? of->jumps[jump] : time;
    of->until = jump >= 0 && jump + 1 < of->jumped ? of->jumps[jump + 1] : time;
    Py_ssize_t most = of->shares > 2 ? of->shares - 2 : 0;
    of->jump = jump = jump < 0 ? 0 : jump > most ? most : jump;

    Py_ssize_t traced = last - first;
    int by_level[LEVELS] = {0}, by_recency[RECENCIES] = {0};
    for (Py_ssize_t draw = first; draw < last; draw++) {
        int level = of->level[draw], recency = of->recency[draw];
        if (level < 0 || level >= LEVELS || recency >= RECENCIES) {
            of->is_wrong = 1;
            return;
        }
        by_level[level]++;
        if (recency >= 0)
            by_recency[recency]++;
    }
    found->is_between = !traced;
    double fresh = traced ? (double)by_level[0] / (double)traced : of->share[jump];
    if (!(fresh >= 0))
        return;
    found->known = 1;
    found->repeat = 1.0 - fresh;
    if (traced) {
        for (int cell = 0; cell < LEVELS; cell++)
            found->levels[cell] = (double)by_level[cell] / (double)traced;
        for (int cell = 0; cell < RECENCIES; cell++)
            found->recencies[cell] = (double)by_recency[cell] / (double)traced;
    }
    else
        memcpy(found->levels, of->between + jump * LEVELS, sizeof found->levels);
    int is_told = traced >= TELLING || (of->complete && traced);
    found->wholly_fresh = (is_told && fresh == 1.0) || of->share[jump] >= of->nearly_all;
}

/* Adds a share of a sample to weight, loss times weight, and squared loss times weight. */
static inline void add_share(double *cell, Py_ssize_t apart, double weight, double loss)
{
    double weighted = weight * loss;
    cell[0] += weight;
    cell[apart] += weighted;
    cell[2 * apart] += weighted * loss;
}

static void add(const Sums *to, Py_ssize_t slot, Py_ssize_t dataset, Py_ssize_t datasets, double step,
    const Shares *shares, double weight, double loss)
{
    to->samples[slot] += 1.0;
    to->weight[slot] += weight;
    to->loss[slot] += weight * loss;
    for (int cell = 0; cell < LEVELS; cell++)
        if (shares->levels[cell] > 0)
            add_share(to->levels + dataset * LEVELS + cell, datasets * LEVELS, weight * shares->levels[cell], loss);
    for (int cell = 0; cell < RECENCIES; cell++)
        if (shares->recencies[cell] > 0)
            add_share(to->recencies + cell, RECENCIES, weight * shares->recencies[cell], loss);
    if (shares->wholly_fresh)
        add_share(to->fresh + dataset, datasets, weight, loss);
    double compared = shares->known ? weight : 0.0, repeated = compared * shares->repeat, stepped = compared * step;
    double *moments = to->moments + dataset * MOMENTS;
    moments[0] += compared;
    moments[1] += repeated;
    moments[2] += stepped;
    moments[3] += compared * loss;
    moments[4] += repeated * shares->repeat;
    moments[5] += repeated * step;
    moments[6] += repeated * loss;
    moments[7] += stepped * step;
    moments[8] += stepped * loss;
}

typedef struct {
    const float *rows;
    const int64_t *sizes, *slot, *time, *steps, *starts;
    Py_ssize_t count, microbatches, runs, epochs, datasets;
    double micro_batch;
    double *out;
} Window;

static Sums sums_in(double *out, Py_ssize_t epochs, Py_ssize_t datasets)
{
    Sums sums = {.samples = out};
    sums.weight = sums.samples + epochs;
    sums.loss = sums.weight + epochs;
    sums.levels = sums.loss + epochs;
    sums.recencies = sums.levels + 3 * datasets * LEVELS;
    sums.fresh = sums.recencies + 3 * RECENCIES;
    sums.moments = sums.fresh + 3 * datasets;
    return sums;
}

static Py_ssize_t width_of(Py_ssize_t epochs, Py_ssize_t datasets)
{
    return 3 * epochs + 3 * (datasets * (LEVELS + 1) + RECENCIES) + datasets * MOMENTS;
}

/* Returns whether all sizes, slots and levels fit. */
static int add_all(const Window *window, Exposure *exposure)
{
    Py_ssize_t width = width_of(window->epochs, window->datasets);
    int is_same[RULES] = {0, 1, 1}; /* as the rule before: no label is ignored, the usual case */
    for (Py_ssize_t at = 0; at < window->count && (is_same[1] || is_same[2]); at++) {
        const float *row = window->rows + 4 * at;
        is_same[1] &= row[2] == row[1];
        is_same[2] &= row[3] == row[2];
    }
    Sums sums[RULES];
    for (int rule = 0; rule < RULES; rule++)
        sums[rule] = sums_in(window->out + rule * width, window->epochs, window->datasets);
    Py_ssize_t at = 0, run = -1;
    int64_t left = 0;
    Shares shares = {.repeat = 1.0};
    for (Py_ssize_t microbatch = 0; microbatch < window->microbatches; microbatch++) {
        int64_t size = window->sizes[microbatch];
        if (size < 0 || size > window->count - at)
            return 0;
        double total[RULES] = {0};
        for (int64_t sample = 0; sample < size; sample++)
            for (int rule = 0; rule < RULES; rule++)
                total[rule] += window->rows[4 * (at + sample) + 1 + rule];
        for (int64_t sample = 0; sample < size; sample++, at++) {
            while (!left) {
                if (++run == window->runs)
                    return 0;
                left = window->steps[2 * run + 1];
            }
            left--;
            int64_t slot = window->slot[at];
            if (slot < 0 || slot >= window->epochs)
                return 0;
            Py_ssize_t dataset = 0;
            if (window->datasets > 1)
                dataset = below(window->starts, window->datasets + 1, slot, 1) - 1;
            find(exposure, window->time[at], &shares);
            const float *row = window->rows + 4 * at;
            for (int rule = 0; rule < RULES; rule++) {
                if (is_same[rule])
                    continue;
                double tokens = row[1 + rule];
                double share = total[rule] > 0 ? tokens / total[rule] : 1.0 / (double)size;
                double loss = (double)row[0] / (tokens > 1 ? tokens : 1.0);
                add(&sums[rule], slot, dataset, window->datasets, (double)window->steps[2 * run], &shares,
                    window->micro_batch * share, loss);
            }
        }
    }
    for (int rule = 1; rule < RULES; rule++)
        if (is_same[rule])
            memcpy(window->out + rule * width, window->out + (rule - 1) * width, (size_t)width * sizeof(double));
    return at == window->count && !exposure->is_wrong;
}

PyDoc_STRVAR(add_up_doc,
"add_up(window, exposure, out) -> None\n\n"
"Adds up the samples of a window, see `window_sums.py`.\n\n"
"Args:\n"
"    window: a tuple of float32 rows [n, 4], int64 sizes [m], slots [n], times [n], steps and their samples [k, 2],\n"
"        the first slot of each dataset [datasets + 1]; and b, an integer.\n"
"    exposure: a tuple of int64 times [d], int8 levels [d] and recencies [d], int64 jumps [j], float64 shares [s]\n"
"        and levels between [s, LEVELS]; from which share on it is nearly all; whether all tokens are traced.\n"
"    out: float64 [rules, width], zeros.\n\n"
"Raises:\n"
"    ValueError: an array or a size does not fit.");

enum { ROWS, SIZES, SLOTS, TIMES, STEPS, STARTS, DRAWS, LEVEL, RECENCY, JUMPS, SHARES, BETWEEN, OUT, BUFFERS };

static PyObject *add_up(PyObject *self, PyObject *args)
{
    Py_buffer b[BUFFERS];
    long long micro_batch;
    double nearly_all;
    int complete;
    if (!PyArg_ParseTuple(args, "(y*y*y*y*y*y*L)(y*y*y*y*y*y*dp)w*", &b[ROWS], &b[SIZES], &b[SLOTS], &b[TIMES],
            &b[STEPS], &b[STARTS], &micro_batch, &b[DRAWS], &b[LEVEL], &b[RECENCY], &b[JUMPS], &b[SHARES],
            &b[BETWEEN], &nearly_all, &complete, &b[OUT]))
        return NULL;
    const Py_ssize_t word = 8;
    Window window = {
        .rows = b[ROWS].buf, .sizes = b[SIZES].buf, .slot = b[SLOTS].buf, .time = b[TIMES].buf,
        .steps = b[STEPS].buf, .starts = b[STARTS].buf, .out = b[OUT].buf, .micro_batch = (double)micro_batch,
        .count = b[SLOTS].len / word, .microbatches = b[SIZES].len / word, .runs = b[STEPS].len / (2 * word),
        .datasets = b[STARTS].len / word - 1,
    };
    Exposure exposure = {
        .time = b[DRAWS].buf, .level = b[LEVEL].buf, .recency = b[RECENCY].buf, .draws = b[DRAWS].len / word,
        .jumps = b[JUMPS].buf, .jumped = b[JUMPS].len / word, .share = b[SHARES].buf, .between = b[BETWEEN].buf,
        .shares = b[SHARES].len / word, .nearly_all = nearly_all, .complete = complete,
    };
    int fits = window.datasets >= 0 && b[ROWS].len == 4 * (Py_ssize_t)sizeof(float) * window.count && b[TIMES].len == b[SLOTS].len
        && b[LEVEL].len == exposure.draws && b[RECENCY].len == exposure.draws && exposure.shares > 0
        && b[BETWEEN].len == LEVELS * b[SHARES].len;
    if (fits) {
        window.epochs = (Py_ssize_t)window.starts[window.datasets];
        fits = window.epochs >= 0 && b[OUT].len == RULES * word * width_of(window.epochs, window.datasets);
    }
    if (fits) {
        if (window.count < RELEASED_FROM)
            fits = add_all(&window, &exposure);
        else {
            Py_BEGIN_ALLOW_THREADS
            fits = add_all(&window, &exposure);
            Py_END_ALLOW_THREADS
        }
    }
    for (int at = 0; at < BUFFERS; at++)
        PyBuffer_Release(&b[at]);
    if (!fits) {
        PyErr_SetString(PyExc_ValueError, "arrays or sizes that do not fit each other");
        return NULL;
    }
    Py_RETURN_NONE;
}

static PyMethodDef methods[] = {
    {"add_up", add_up, METH_VARARGS, add_up_doc},
    {NULL, NULL, 0, NULL},
};

static struct PyModuleDef module = {
    PyModuleDef_HEAD_INIT,
    .m_name = "_sums",
    .m_doc = "The sums over the samples of a log window, compiled.",
    .m_methods = methods,
};

PyMODINIT_FUNC PyInit__sums(void)
{
    return PyModuleDef_Init(&module);
}
