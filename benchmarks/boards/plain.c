/* The demo's network as one would write it by hand, from PyTorch's equations: what generated C is compared with. */
#include "m.h"

#include <math.h>
#include <string.h>

#include "weights.h" /* constants, and what the network answers to a few samples */

enum { INPUTS = 6, HIDDEN = 32, CLASSES = 4 };

static float sigmoid(float x)
{
    return 1.0f / (1.0f + expf(-x));
}

void m_reset(m_state *state)
{
    memset(state, 0, sizeof *state);
}

int m_step(m_state *state, m_scratch *scratch, const float *samples, float *probabilities)
{
    float *const h = state->h, *const x = scratch->x, *const of_x = scratch->of_x, *const of_h = scratch->of_h;

    for (int i = 0; i < INPUTS; i++)
        x[i] = (samples[i] - norm_mean[i]) / sqrtf(norm_variance[i] + 1e-5f) * norm_weight[i] + norm_bias[i];

    for (int i = 0; i < 3 * HIDDEN; i++) {
        float sum = gru_bias_ih[i];
        for (int k = 0; k < INPUTS; k++)
            sum += gru_weight_ih[i][k] * x[k];
        of_x[i] = sum;
        sum = gru_bias_hh[i];
        for (int k = 0; k < HIDDEN; k++)
            sum += gru_weight_hh[i][k] * h[k];
        of_h[i] = sum;
    }
    for (int i = 0; i < HIDDEN; i++) {
        const float z = sigmoid(of_x[i] + of_h[i]);
        const float r = sigmoid(of_x[HIDDEN + i] + of_h[HIDDEN + i]);
        const float n = tanhf(of_x[2 * HIDDEN + i] + r * of_h[2 * HIDDEN + i]);
        h[i] = (1.0f - z) * n + z * h[i];
    }

    float total = 0.0f;
    for (int i = 0; i < CLASSES; i++) {
        float sum = linear_bias[i];
        for (int k = 0; k < HIDDEN; k++)
            sum += linear_weight[i][k] * h[k];
        probabilities[i] = expf(sum);
        total += probabilities[i];
    }
    for (int i = 0; i < CLASSES; i++)
        probabilities[i] /= total;
    return 0;
}

#ifndef M_NO_SELFTEST

int m_selftest(m_state *state, m_scratch *scratch)
{
    float probabilities[CLASSES];
    m_reset(state);
    for (int t = 0; t < TESTED_STEPS; t++) {
        m_step(state, scratch, tested_samples[t], probabilities);
        for (int i = 0; i < CLASSES; i++)
            if (!(fabsf(probabilities[i] - tested_probabilities[t][i]) < 2e-6f))
                return 0;
    }
    return 1;
}

#endif
