/* What runs before main on a Cortex-M, and what a program asks of its debugger. */
#include "board.h"

extern char data_load[], data_begin[], data_end[], bss_begin[], bss_end[], stack_top[];

int ask(int operation, const void *argument)
{
    register int r0 __asm__("r0") = operation;
    register const void *r1 __asm__("r1") = argument;
    __asm__ volatile("bkpt 0xab" : "+r"(r0) : "r"(r1) : "memory");
    return r0;
}

void start_counting(void)
{
    *(volatile uint32_t *)0xE000E014 = 0xffffff; /* SysTick: reload, value, control */
    *(volatile uint32_t *)0xE000E018 = 0;
    *(volatile uint32_t *)0xE000E010 = 5;
}

uint32_t counted(void)
{
    return 0xffffff - *(volatile uint32_t *)0xE000E018;
}

void reset(void)
{
#ifdef __ARM_FP
    *(volatile uint32_t *)0xE000ED88 |= 0xFu << 20; /* CPACR: the floating-point unit */
    __asm__ volatile("dsb\n isb");
#endif
    for (char *to = data_begin, *from = data_load; to < data_end; to++, from++)
        *to = *from;
    for (char *to = bss_begin; to < bss_end; to++)
        *to = 0;
    leave(main());
}

static void fault(void)
{
    leave(3);
}

__attribute__((section(".vectors"), used)) static void *const vectors[16] = {
    stack_top, reset, fault, fault, fault, fault, fault,
};
