"""Lowers a step program to steps: what moves becomes a view, what computes a primitive."""

from __future__ import annotations

from grurt.kernels import codes
from grurt.lowering.programs.contractions import Contractions
from grurt.lowering.programs.elementwise import Elementwise
from grurt.lowering.programs.movement import Movement
from grurt.lowering.programs.reductions import Reductions
from grurt.lowering.programs.scans import Scans
from grurt.lowering.programs.views import Storage, whole


class ProgramLowering(Contractions, Elementwise, Movement, Reductions, Scans):
    """Lowers the operators: one method for each kind, of its name, which adds steps and binds what it writes."""

    def run(self) -> None:
        """Lower all operators, write the results, and hand on the states."""
        for number, operator in enumerate(self.operators):
            self.number = number
            getattr(self, operator.kind)(operator)
            self.ends.append(len(self.steps))
        start = 0
        for name in self.layer.results:
            view = self.values[name]
            self.copy(whole(Storage(view.size, codes.BASE_OUT, start), view.shape), view)
            start += view.size
        self.hand_on()
