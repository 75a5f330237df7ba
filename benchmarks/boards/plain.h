/* The names that generated C has, for the network that is written by hand. */
#ifndef M_H
#define M_H

#include <stdint.h>

typedef struct {
    float h[32];
} m_state;

typedef struct {
    float x[6], of_x[96], of_h[96];
} m_scratch;

void m_reset(m_state *state);
int m_step(m_state *state, m_scratch *scratch, const float *samples, float *probabilities);
int m_selftest(m_state *state, m_scratch *scratch);

#endif
