"""What models in C take on microcontrollers: flash, RAM, stack and instructions, counted on emulated boards."""
