/* Reads 4-byte values at random places, as fast as the machine does it: nothing is looked up, computed or stored. */

#include <stdint.h>

uint64_t random_reads(const uint32_t *values, uint64_t length, uint64_t reads, uint64_t seed)
{
    uint64_t state = seed, sum = 0;
    for (uint64_t i = 0; i < reads; i++) {
        /* Numerical Recipes' multiplier; the place is the upper part, and no read waits for another. */
        state = state * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
        sum += values[(uint64_t)(((unsigned __int128)state * length) >> 64)];
    }
    return sum;
}
