/* Tests a model on a board, and prints what a timestep takes: instructions or ticks, and the deepest stack. */
#include "board.h"
#ifdef WITH_MODEL
#include "m.h"
#include "program.h" /* the inputs and outputs, and STEP, which steps the model once */

static m_state state;
static m_scratch scratch;
#else
#define STEP 0
#endif

enum { N_STEPS = 100, PAINTED = 4096 };

static void print_number(const char *what, uint32_t number)
{
    char digits[16], *first = digits + 15;
    *first = 0;
    do
        *--first = (char)('0' + number % 10);
    while (number /= 10);
    print(what);
    print(" ");
    print(first);
    print("\n");
}

__attribute__((noinline)) static int step(void)
{
    return STEP;
}

/* How many bytes of the stack a step takes. */
__attribute__((noinline)) static uint32_t deepest(void)
{
    volatile char *const here = stack_pointer();
    for (int i = 1; i <= PAINTED; i++)
        here[-i] = 0x5a;
    step();
    int deep = PAINTED;
    while (deep > 0 && here[-deep] == 0x5a)
        deep--;
    return (uint32_t)deep;
}

int main(void)
{
#ifdef WITH_SELFTEST
    if (!m_selftest(&state, &scratch))
        return 1;
#endif
#ifdef WITH_MODEL
    m_reset(&state);
#endif
    start_counting();
    for (int t = 0; t < N_STEPS; t++)
        if (step())
            return 2;
    print_number("counted", counted());
    print_number("stack", deepest());
    return 0;
}
