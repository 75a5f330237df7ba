/* What runs before main on a 32-bit RISC-V, and what a program asks of its debugger. */
#include "board.h"

extern char data_load[], data_begin[], data_end[], bss_begin[], bss_end[];

int ask(int operation, const void *argument)
{
    register int a0 __asm__("a0") = operation;
    register const void *a1 __asm__("a1") = argument;
    __asm__ volatile(".option push\n .option norvc\n .balign 16\n"
                     " slli x0, x0, 0x1f\n ebreak\n srai x0, x0, 7\n .option pop"
                     : "+r"(a0) : "r"(a1) : "memory");
    return a0;
}

static uint32_t first;

static uint32_t instructions(void)
{
    uint32_t count;
    __asm__ volatile(".option push\n .option arch, +zicsr\n csrr %0, minstret\n .option pop" : "=r"(count));
    return count;
}

void start_counting(void)
{
    first = instructions();
}

uint32_t counted(void)
{
    return instructions() - first;
}

void begin(void)
{
    for (char *to = data_begin, *from = data_load; to < data_end; to++, from++)
        *to = *from;
    for (char *to = bss_begin; to < bss_end; to++)
        *to = 0;
    leave(main());
}

__attribute__((naked, section(".vectors"), used)) void reset(void)
{
    __asm__ volatile(".option push\n .option norelax\n la gp, __global_pointer$\n .option pop\n"
                     " la sp, stack_top\n j begin");
}
