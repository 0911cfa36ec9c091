"""A slow, obvious twin of the event kernel: every time step is looked at, no heap, no arrays.

At every integer time: whatever is due happens, smallest number first (MVM ends by stage, stream
ends by stage, heads at hops, arrivals by edge); then every stage, the last one first, begins what
it can; both until nothing happens any more at that time.
"""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass
class Lane:
    mvm: str = "idle"  # idle, running, held
    latch: str = "empty"  # empty, loaded, streaming


@dataclass
class State:
    lanes: list[Lane]
    fired: int = 0
    ended: int = 0
    streamed: int = 0
    finished: int = 0
    fire_times: list[int] = field(default_factory=list)
    stream_times: list[int] = field(default_factory=list)
    stream_ends: list[int] = field(default_factory=list)


@dataclass
class Line:
    """An edge at run time."""

    arrived: int = 0
    claimed: int = 0
    freed: int = 0
    peak: int = 0


class NaivePipeline:
    def __init__(self, schedule, images):
        self.plan, self.images, self.now = schedule, images, 0
        self.states = [State([Lane() for _ in range(s.lanes)]) for s in schedule.stages]
        self.lines = [Line() for _ in schedule.edges]
        self.link_free = [0] * len(schedule.links)
        self.due = []  # (time, order, action)
        self.numbers = {}
        for e, edge in enumerate(schedule.edges):
            for place in range(len(edge.route)):
                self.numbers[e, place] = len(self.numbers)

    def run(self, limit=10**6):
        while self.now < limit:
            moved = True
            while moved:
                moved = False
                while any(time == self.now for time, _, _ in self.due):
                    first = min(item for item in self.due if item[0] == self.now)
                    self.due.remove(first)
                    getattr(self, first[2][0])(*first[2][1:])
                    moved = True
                for s in reversed(range(len(self.states))):
                    while self.begin_stream(s):
                        moved = True
                    while self.begin_mvm(s):
                        moved = True
            if not self.due:
                break
            self.now += 1
        return all(
            state.finished == self.images * stage.firings
            for state, stage in zip(self.states, self.plan.stages, strict=True)
        )

    # ---- what a firing needs

    def lane(self, s, firing):
        return self.states[s].lanes[firing % len(self.states[s].lanes)]

    def inputs(self, s, joins):
        return [e for e, edge in enumerate(self.plan.edges) if edge.consumer == s
                and edge.joins == joins]  # fmt: skip

    def outputs(self, s):
        return [e for e, edge in enumerate(self.plan.edges) if edge.producer == s]

    def total(self, e, table, s, firing):
        image, i = divmod(firing, self.plan.stages[s].firings)
        return image * self.plan.edges[e].elements + int(table[i])

    def has_inputs(self, s, firing, joins):
        return all(
            self.lines[e].arrived >= self.total(e, self.plan.edges[e].need, s, firing)
            for e in self.inputs(s, joins)
        )

    def has_slots(self, s, firing):
        for e in self.outputs(s):
            capacity = self.plan.edges[e].capacity
            if capacity is not None and firing + 1 - self.lines[e].freed > capacity:
                return False
        return True

    def claim(self, s, firing):
        for e in self.outputs(s):
            line = self.lines[e]
            line.claimed = firing + 1
            line.peak = max(line.peak, line.claimed - line.freed)

    def free(self, s, firing, joins):
        for e in self.inputs(s, joins):
            self.lines[e].freed = self.total(e, self.plan.edges[e].free, s, firing)

    def in_use(self, s, unit, value):
        """How many lanes of a core's stages are in a state that occupies its unit."""
        core = self.plan.stages[s].core
        mates = [
            k for k, x in enumerate(self.plan.stages) if k == s or (core is not None
                                                                    and x.core == core)
        ]  # fmt: skip
        used = sum(getattr(lane, unit) in value for k in mates for lane in self.states[k].lanes)
        return used < max(self.plan.stages[k].lanes for k in mates)

    # ---- beginnings

    def begin_stream(self, s):
        state, stage = self.states[s], self.plan.stages[s]
        firing = state.streamed
        lane = self.lane(s, firing)
        early = self.plan.claim == "mvm"
        if lane.latch != "loaded" or not self.has_inputs(s, firing, "ldpu"):
            return False
        if not (early or self.has_slots(s, firing)):
            return False
        if not self.in_use(s, "latch", ("streaming",)):
            return False
        lane.latch = "streaming"
        state.streamed += 1
        state.stream_times.append(self.now)
        if not early:
            self.claim(s, firing)
        self.later(stage.stream_ps, (1, s), "stream_end", s)
        for e in self.outputs(s):
            self.travel(stage.latency_ps, e, 0)
        return True

    def begin_mvm(self, s):
        state, stage = self.states[s], self.plan.stages[s]
        firing = state.fired
        if firing == self.images * stage.firings:
            return False
        lane = self.lane(s, firing)
        early = self.plan.claim == "mvm"
        if lane.mvm != "idle" or lane.latch == "loaded" or not self.has_inputs(s, firing, "mvm"):
            return False
        if (early and not self.has_slots(s, firing)) or not self.in_use(
            s, "mvm", ("running", "held")
        ):
            return False
        lane.mvm = "running"
        state.fired += 1
        state.fire_times.append(self.now)
        if early:
            self.claim(s, firing)
        self.later(stage.mvm_ps, (0, s), "mvm_end", s)
        return True

    # ---- what happens later

    def later(self, delay, order, *action):
        self.due.append((self.now + delay, order, action))

    def travel(self, delay, e, place):
        if place < len(self.plan.edges[e].route):
            self.later(delay, (2, self.numbers[e, place]), "head", e, place)
        else:
            self.later(delay + self.plan.tail_ps(e), (3, e), "arrive", e)

    def mvm_end(self, s):
        state = self.states[s]
        self.free(s, state.ended, "mvm")
        lane = self.lane(s, state.ended)
        state.ended += 1
        lane.mvm = "held"
        self.load(lane)

    def stream_end(self, s):
        state = self.states[s]
        self.free(s, state.finished, "ldpu")
        lane = self.lane(s, state.finished)
        state.finished += 1
        state.stream_ends.append(self.now)
        lane.latch = "empty"
        self.load(lane)

    def load(self, lane):
        if lane.mvm == "held" and lane.latch == "empty":
            lane.mvm, lane.latch = "idle", "loaded"

    def head(self, e, place):
        link = self.plan.edges[e].route[place]
        begin = max(self.now, self.link_free[link])
        self.link_free[link] = begin + self.plan.hop_busy_ps(e)[place]
        self.travel(begin - self.now + self.plan.links[link].latency_ps, e, place + 1)

    def arrive(self, e):
        self.lines[e].arrived += 1
