"""Simulated models: seeded, sometimes wrong, and unsure about as often as they should be."""

from __future__ import annotations

import hashlib
import json
import math
import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from statistics import NormalDist

from cascade.simulated import confidence, generic
from cascade.simulated.chat import ChatRequest, Completion, cut
from cascade.simulated.tickets import Kind, Solution, Ticket
from cascade.simulated.workload import solve

NORMAL = NormalDist()
SHARED_DIFFICULTY = 0.5  # how much of a prompt's difficulty is the same for every model
SAMPLING_NOISE = 0.5  # how far temperature 1 moves an answer from the one at temperature 0
REFUSALS = ("I'm sorry, but I can't help with that.", "I cannot assist with this request.")
ERROR_STATUSES = (429, 500, 503)


def _default_skill() -> dict[Kind, float]:
    return {"lookup": 0.98, "drafting": 0.9, "hard": 0.35}


@dataclass(frozen=True)
class SimulatedModel:
    """A model that solves tickets by reading them, then errs as often as its figures say.

    The same seed, name, messages and sample give the same completion.

    skill: share of right answers for each kind of ticket, 0..1.
    latency_ms: median and sigma (of the logarithm) of the time to the first token.
    tokens_per_s: pace after the first token; math.inf takes no time.
    malformed: share of broken JSON; none when the request's response_format asks for JSON.
    refusal: share of refusals.
    error_rate: share of calls answered with status 429, 500 or 503.
    separation: distance in log-odds between the certainty of right answers, and of wrong ones,
        from their middle: 0 makes log-probabilities say nothing about correctness.
    overconfidence: share of wrong answers given with a right answer's certainty.
    input_usd, output_usd: price per million tokens.
    """

    name: str
    skill: Mapping[Kind, float] = field(default_factory=_default_skill)
    latency_ms: tuple[float, float] = (250.0, 0.35)
    tokens_per_s: float = 150.0
    malformed: float = 0.03
    refusal: float = 0.005
    error_rate: float = 0.0
    separation: float = 0.9
    overconfidence: float = 0.15
    input_usd: float = 0.0
    output_usd: float = 0.0
    seed: int = 0

    def __post_init__(self) -> None:
        shares = {f"skill[{kind!r}]": share for kind, share in self.skill.items()}
        for name in ("malformed", "refusal", "error_rate", "overconfidence"):
            shares[name] = getattr(self, name)
        for name, share in shares.items():
            if not 0 <= share <= 1:
                raise ValueError(f"{name} of {self.name!r} is {share}; it must be 0..1")
        if self.latency_ms[0] < 0 or self.latency_ms[1] < 0 or self.tokens_per_s <= 0:
            raise ValueError(
                f"latency_ms {self.latency_ms} and tokens_per_s {self.tokens_per_s} of "
                f"{self.name!r} must not be negative, and the pace must be above 0"
            )

    def complete(self, request: ChatRequest, visit: int = 0) -> tuple[Completion, ...]:
        """The `request.n` completions.

        `visit` counts how often the prompt came before. It changes the completions only when the
        request samples (temperature above 0) and gives no seed of its own.
        """
        base = visit if request.seed is None else f"seed {request.seed}"
        samples = [f"{base}/{index}" for index in range(request.n)]
        if request.temperature <= 0:
            samples = ["greedy"] * request.n
        return tuple(cut(self._sample(request, sample), request) for sample in samples)

    def first_token_s(self, request: ChatRequest, visit: int = 0) -> float:
        """Seconds to the first token: log-normal."""
        median_ms, sigma = self.latency_ms
        rng = self._rng("latency", request, visit)
        return median_ms / 1000 * math.exp(rng.gauss(0, sigma))

    def error_status(self, request: ChatRequest, visit: int = 0) -> int | None:
        """The HTTP status this visit fails with; None when it is answered."""
        rng = self._rng("error", request, visit)
        return rng.choice(ERROR_STATUSES) if rng.random() < self.error_rate else None

    def _rng(self, *key: object) -> random.Random:
        return _seeded(self.seed, self.name, *key)

    def _sample(self, request: ChatRequest, sample: str) -> Completion:
        rng = self._rng("sample", request, sample)
        if tool := generic.wanted_tool(request):
            return Completion((), "tool_calls", (generic.call(rng, tool, request),))
        refused, in_its_field = rng.random() < self.refusal, rng.random() < 0.5
        if refused:
            text = rng.choice(REFUSALS)
            tokens = confidence.tokens(rng, text, (), 1.0, request.top_logprobs or 0)
            return Completion(tokens, "refusal" if in_its_field else "stop", (), in_its_field)
        solution = _read(request)
        if solution is None:
            return self._generic(rng, request)
        return self._answer(rng, request, solution, sample)

    def _answer(
        self, rng: random.Random, request: ChatRequest, solution: Solution, sample: str
    ) -> Completion:
        right = self._is_right(request, solution, sample)
        ticket = solution.ticket if right else rng.choice(solution.mistakes)
        looks_right = right or rng.random() < self.overconfidence
        sure = confidence.certainty(rng, looks_right, self.separation)
        text = json.dumps(ticket, ensure_ascii=False)
        if rng.random() < self.malformed and not request.json_mode:
            text = rng.choice(MALFORMED)(text)
        focus = _deciding_parts(ticket, solution)
        tokens = confidence.tokens(rng, text, focus, sure, request.top_logprobs or 0)
        return Completion(tokens)

    def _is_right(self, request: ChatRequest, solution: Solution, sample: str) -> bool:
        # A sum of independent normals with squared weights of 1 is normal again, so the share
        # of right answers is the skill whatever the weights are.
        shared = _seeded(self.seed, "difficulty", request).gauss(0, 1)
        own = self._rng("difficulty", request).gauss(0, 1)
        chance = self._rng("chance", request, sample).gauss(0, 1)
        noise = SAMPLING_NOISE * min(max(request.temperature, 0.0), 1.0)
        lasting = math.sqrt(SHARED_DIFFICULTY) * shared + math.sqrt(1 - SHARED_DIFFICULTY) * own
        difficulty = math.sqrt(1 - noise**2) * lasting + noise * chance
        skill = self.skill.get(_kind(solution.ticket), 0.0)
        return NORMAL.cdf(difficulty) < skill

    def _generic(self, rng: random.Random, request: ChatRequest) -> Completion:
        sure = confidence.certainty(rng, None, self.separation)
        if request.json_mode:
            text = generic.json_reply(rng, request)
        else:
            text = generic.text_reply(rng, self.name)
        return Completion(confidence.tokens(rng, text, (text,), sure, request.top_logprobs or 0))


def simulated_models(seed: int = 0) -> tuple[SimulatedModel, SimulatedModel, SimulatedModel]:
    """sim-small, sim-medium and sim-large: priced and paced like today's three sizes.

    A ticket of the workload takes about 250, 600 and 1500 ms.
    """
    return (
        SimulatedModel(
            "sim-small",
            skill={"lookup": 0.97, "drafting": 0.85, "hard": 0.25},
            latency_ms=(100.0, 0.35),
            tokens_per_s=350.0,
            malformed=0.04,
            refusal=0.01,
            input_usd=0.05,
            output_usd=0.40,
            seed=seed,
        ),
        SimulatedModel(
            "sim-medium",
            skill={"lookup": 0.99, "drafting": 0.94, "hard": 0.65},
            latency_ms=(250.0, 0.4),
            tokens_per_s=150.0,
            malformed=0.015,
            input_usd=0.40,
            output_usd=1.60,
            seed=seed,
        ),
        SimulatedModel(
            "sim-large",
            skill={"lookup": 0.998, "drafting": 0.985, "hard": 0.95},
            latency_ms=(800.0, 0.45),
            tokens_per_s=75.0,
            malformed=0.002,
            refusal=0.002,
            input_usd=3.00,
            output_usd=15.00,
            seed=seed,
        ),
    )


def _seeded(seed: int, name: str, *key: object) -> random.Random:
    parts = [part.messages if isinstance(part, ChatRequest) else part for part in key]
    text = json.dumps([seed, name, parts])
    return random.Random(hashlib.sha256(text.encode()).digest())


def _read(request: ChatRequest) -> Solution | None:
    texts = (text for role, text in request.messages if role == "user")
    return next((solution for text in texts if (solution := solve(text))), None)


def _kind(ticket: Ticket) -> Kind:
    kinds: dict[str, Kind] = {"lookup": "lookup", "drafting": "drafting", "hard": "hard"}
    return kinds[ticket["kind"]]


def _deciding_parts(ticket: Ticket, solution: Solution) -> tuple[str, ...]:
    """The parts of the reply in which right and wrong differ."""
    if ticket["kind"] != "drafting":
        return (json.dumps(ticket["answer"], ensure_ascii=False)[1:-1],)
    sentence = ticket["reply"].rpartition(". ")[2]
    return (*solution.must_say, sentence) if ticket is not solution.ticket else solution.must_say


def _without_brace(text: str) -> str:
    return text.removesuffix("}")


def _with_prose(text: str) -> str:
    return f"{text}\n\nLet me know if there is anything else I can do."


def _fenced(text: str) -> str:
    return f"Here is the JSON:\n```json\n{text}\n```"


def _single_quoted(text: str) -> str:
    return repr(json.loads(text))


MALFORMED: tuple[Callable[[str], str], ...] = (
    _without_brace,
    _with_prose,
    _fenced,
    _single_quoted,
)
