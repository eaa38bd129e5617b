/* The network of permutation.py in words of 32 bits, compiled: the same arithmetic in one pass over the values.
 *
 * Optional. Where this was not built numpy computes the same, in some ninety passes.
 */

#define PY_SSIZE_T_CLEAN
#include <Python.h>
#include <stdint.h>

#define ROUNDS 8
#define HALF 16
#define MIX 0x9E3779B1u /* the golden ratio in 32 bits, as in permutation.py */
#define BLOCK 1024      /* digits of so many values, 8 KiB, stay in the cache next to the core */
#define RELEASED_FROM (1 << 16) /* fewer values take less than another thread might keep the interpreter for */

/* Compiled for several instruction sets, of which the one at hand is taken when the module is loaded. */
#if defined(__GNUC__) && !defined(__clang__) && defined(__x86_64__) && defined(__GLIBC__)
#define FOR_EACH_MACHINE __attribute__((target_clones("avx512f", "avx2", "default")))
#else
#define FOR_EACH_MACHINE
#endif

typedef struct {
    uint32_t multipliers[ROUNDS];
    uint32_t offsets[ROUNDS];
    uint32_t left, right; /* sizes of the digits: x = l * right + r */
    uint64_t n;
} Network;

/* What is added to a digit, from the other one: the upper half of a keyed hash, scaled to [0, size). */
static inline uint32_t scaled_hash(uint32_t digit, const Network *net, int round, uint32_t size)
{
    uint32_t hash = digit * net->multipliers[round] + net->offsets[round];
    hash ^= hash >> HALF;
    hash = (hash * MIX) >> HALF;
    return (hash * size) >> HALF;
}

/* Modulo size, of sums below twice the size and of differences that have wrapped below zero. */
static inline uint32_t plus(uint32_t digit, uint32_t step, uint32_t size)
{
    uint32_t sum = digit + step, reduced = sum - size;
    return sum < reduced ? sum : reduced;
}

static inline uint32_t minus(uint32_t digit, uint32_t step, uint32_t size)
{
    uint32_t difference = digit - step, raised = difference + size;
    return difference < raised ? difference : raised;
}

FOR_EACH_MACHINE
static void forward(uint32_t *lefts, uint32_t *rights, int count, const Network *net)
{
    for (int round = 0; round < ROUNDS; round += 2)
        for (int i = 0; i < count; i++) {
            uint32_t left = plus(lefts[i], scaled_hash(rights[i], net, round, net->left), net->left);
            rights[i] = plus(rights[i], scaled_hash(left, net, round + 1, net->right), net->right);
            lefts[i] = left;
        }
}

FOR_EACH_MACHINE
static void backward(uint32_t *lefts, uint32_t *rights, int count, const Network *net)
{
    for (int round = ROUNDS - 2; round >= 0; round -= 2)
        for (int i = 0; i < count; i++) {
            uint32_t right = minus(rights[i], scaled_hash(lefts[i], net, round + 1, net->right), net->right);
            lefts[i] = minus(lefts[i], scaled_hash(right, net, round, net->left), net->left);
            rights[i] = right;
        }
}

/* Returns whether all values are in [0, n). */
FOR_EACH_MACHINE
static int split(const int64_t *values, uint32_t *lefts, uint32_t *rights, int count, const Network *net)
{
    /* By the reciprocal, which may come out one too small: division is not to be had for many at once. */
    uint32_t right_size = net->right;
    uint64_t reciprocal = (UINT64_C(1) << 32) / right_size;
    int outside = 0;
    for (int i = 0; i < count; i++) {
        uint64_t value = (uint64_t)values[i];
        outside |= value >= net->n;
        uint32_t left = (uint32_t)(((value & UINT32_MAX) * reciprocal) >> 32);
        uint32_t right = (uint32_t)value - left * right_size;
        uint32_t over = right >= right_size;
        lefts[i] = left + over;
        rights[i] = right - (over ? right_size : 0);
    }
    return !outside;
}

/* Returns whether all values were in [0, n); what is written is of use only then. */
static int walk(const int64_t *values, int64_t *out, Py_ssize_t count, const Network *net, int inverse)
{
    void (*const network)(uint32_t *, uint32_t *, int, const Network *) = inverse ? backward : forward;
    uint32_t lefts[BLOCK], rights[BLOCK];
    for (Py_ssize_t start = 0; start < count; start += BLOCK) {
        int here = count - start < BLOCK ? (int)(count - start) : BLOCK;
        if (!split(values + start, lefts, rights, here, net))
            return 0;
        network(lefts, rights, here, net);
        for (int i = 0; i < here; i++) {
            uint64_t found = (uint64_t)lefts[i] * net->right + rights[i];
            while (found >= net->n) { /* walks on from outside; one in root n does */
                network(&lefts[i], &rights[i], 1, net);
                found = (uint64_t)lefts[i] * net->right + rights[i];
            }
            out[start + i] = (int64_t)found;
        }
    }
    return 1;
}

/* A network that acts on the positions [start, start + n), as the arrays of permutation.py hold it. */
typedef struct {
    int64_t start;
    uint64_t n;
    uint32_t left, right;
    uint32_t words[2 * ROUNDS];
} Placed;

/* Where each position of a block goes that is in the range, counted from the start; 0 for the others. */
FOR_EACH_MACHINE
static void enter(const int64_t *positions, int64_t *places, int count, int64_t start, uint64_t n)
{
    for (int i = 0; i < count; i++) {
        uint64_t place = (uint64_t)positions[i] - (uint64_t)start;
        places[i] = (int64_t)(place < n ? place : 0);
    }
}

FOR_EACH_MACHINE
static void leave(int64_t *positions, const int64_t *images, int count, int64_t start, uint64_t n)
{
    for (int i = 0; i < count; i++)
        positions[i] = (uint64_t)positions[i] - (uint64_t)start < n ? images[i] + start : positions[i];
}

FOR_EACH_MACHINE
static void bounds(const int64_t *positions, int count, int64_t *low, int64_t *high)
{
    int64_t least = positions[0], most = positions[0];
    for (int i = 1; i < count; i++) {
        least = positions[i] < least ? positions[i] : least;
        most = positions[i] > most ? positions[i] : most;
    }
    *low = least;
    *high = most;
}

/* All networks on one block after the other: its positions stay next to the core. */
static void compose_blocks(int64_t *positions, Py_ssize_t count, const Network *nets, const Placed *placed,
                           Py_ssize_t moves, int inverse)
{
    int64_t places[BLOCK];
    for (Py_ssize_t first = 0; first < count; first += BLOCK) {
        int here = count - first < BLOCK ? (int)(count - first) : BLOCK;
        int64_t *block = positions + first, low, high; /* all of the block lie in [low, high] */
        bounds(block, here, &low, &high);
        for (Py_ssize_t move = 0; move < moves; move++) {
            int64_t start = placed[move].start, last = start + (int64_t)(placed[move].n - 1);
            if (high < start || low > last)
                continue;
            enter(block, places, here, start, placed[move].n);
            walk(places, places, here, &nets[move], inverse);
            leave(block, places, here, start, placed[move].n);
            int is_whole = start <= low && high <= last;
            low = is_whole || start < low ? start : low;
            high = is_whole || last > high ? last : high;
        }
    }
}

/* Returns whether the sizes of a network fit its words, so that nothing overflows and each walk ends. */
static int network_of(Network *net, uint64_t left, uint64_t right, uint64_t n, const uint32_t *words)
{
    for (int round = 0; round < ROUNDS; round++) {
        net->multipliers[round] = words[round];
        net->offsets[round] = words[ROUNDS + round];
    }
    net->left = (uint32_t)left;
    net->right = (uint32_t)right;
    net->n = n;
    return left >= 1 && left <= 1 << HALF && right >= 1 && right <= 1 << HALF && n >= 1 && n <= left * right;
}

PyDoc_STRVAR(apply_doc,
"apply(values, out, words, left, right, n, inverse) -> bool\n\n"
"The image of each value, or the value of each image.\n\n"
"Args:\n"
"    values: int64, contiguous, [k].\n"
"    out: int64, contiguous, [k]; may be `values`.\n"
"    words: uint32, the multipliers of the rounds, then the offsets.\n"
"    left, right: sizes of the digits, at most 2**16.\n"
"    n: of the domain.\n"
"    inverse: whether to go back.\n\n"
"Returns:\n"
"    Whether all values are in [0, n); where not, `out` holds nothing of use.\n\n"
"Raises:\n"
"    ValueError: an array or a size does not fit.");

static PyObject *apply(PyObject *self, PyObject *args)
{
    Py_buffer values, out, words;
    unsigned long long left, right, n;
    int inverse, inside = 0;
    if (!PyArg_ParseTuple(args, "y*w*y*KKKp", &values, &out, &words, &left, &right, &n, &inverse))
        return NULL;
    Network net;
    int fits = values.len == out.len && values.len % sizeof(int64_t) == 0
        && words.len == sizeof net.multipliers + sizeof net.offsets
        && network_of(&net, left, right, n, words.buf);
    if (fits) {
        Py_ssize_t count = values.len / (Py_ssize_t)sizeof(int64_t);
        if (count < RELEASED_FROM)
            inside = walk(values.buf, out.buf, count, &net, inverse);
        else {
            Py_BEGIN_ALLOW_THREADS
            inside = walk(values.buf, out.buf, count, &net, inverse);
            Py_END_ALLOW_THREADS
        }
    }
    else
        PyErr_SetString(PyExc_ValueError, "arrays or sizes that do not fit each other");
    PyBuffer_Release(&values);
    PyBuffer_Release(&out);
    PyBuffer_Release(&words);
    return fits ? PyBool_FromLong(inside) : NULL;
}

PyDoc_STRVAR(compose_doc,
"compose(positions, placed, inverse) -> None\n\n"
"Moves positions in place, by one network after the other; each moves those that lie in its range.\n\n"
"Args:\n"
"    positions: int64, contiguous, [k].\n"
"    placed: networks of PLACED in permutation.py, contiguous, [m], in the order in which they act.\n"
"    inverse: whether each goes back.\n\n"
"Raises:\n"
"    ValueError: an array or a size does not fit.");

static PyObject *compose(PyObject *self, PyObject *args)
{
    Py_buffer positions, networks;
    int inverse;
    if (!PyArg_ParseTuple(args, "w*y*p", &positions, &networks, &inverse))
        return NULL;
    Py_ssize_t moves = networks.len / (Py_ssize_t)sizeof(Placed);
    Py_ssize_t count = positions.len / (Py_ssize_t)sizeof(int64_t);
    const Placed *placed = networks.buf;
    int fits = positions.len % sizeof(int64_t) == 0 && networks.len % sizeof(Placed) == 0;
    Network *nets = fits ? PyMem_Malloc((moves ? moves : 1) * sizeof(Network)) : NULL;
    if (fits && nets == NULL)
        PyErr_NoMemory();
    else {
        for (Py_ssize_t move = 0; fits && move < moves; move++)
            fits = network_of(&nets[move], placed[move].left, placed[move].right, placed[move].n, placed[move].words);
        if (!fits)
            PyErr_SetString(PyExc_ValueError, "arrays or sizes that do not fit each other");
        else if (count * moves < RELEASED_FROM)
            compose_blocks(positions.buf, count, nets, placed, moves, inverse);
        else {
            Py_BEGIN_ALLOW_THREADS
            compose_blocks(positions.buf, count, nets, placed, moves, inverse);
            Py_END_ALLOW_THREADS
        }
    }
    PyMem_Free(nets);
    PyBuffer_Release(&positions);
    PyBuffer_Release(&networks);
    if (PyErr_Occurred())
        return NULL;
    Py_RETURN_NONE;
}

static PyMethodDef methods[] = {
    {"compose", compose, METH_VARARGS, compose_doc},
    {"apply", apply, METH_VARARGS, apply_doc},
    {NULL, NULL, 0, NULL},
};

static struct PyModuleDef module = {
    PyModuleDef_HEAD_INIT,
    .m_name = "_network",
    .m_doc = "The permutation's network, compiled.",
    .m_methods = methods,
};

PyMODINIT_FUNC PyInit__network(void)
{
    return PyModuleDef_Init(&module);
}
