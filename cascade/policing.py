"""The ladder by a tuned policy: after each answer it says which to accept, or whom to ask.

A policy reads the scores of the validators it was tuned on, and thresholds decide nothing beside
it. What decides without one goes on doing so (`cascade.weighing`): an answer that it rejects is
never accepted.
Where the policy was not tuned for what happened (a tier broke, a path leaves tiers out), the call
goes on up the ladder, and its last rung is accepted as it would be alone.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Container, Iterable, Mapping, Sequence
from pathlib import Path as FilePath
from typing import TYPE_CHECKING, Any, Final

from cascade.attempt import Run, attempt_rung
from cascade.composition import AnyOf, Composite, Weighted
from cascade.decision import ACCEPT, EXHAUSTED, OUT_OF_MONEY, OUT_OF_TIME
from cascade.decision import Decision as Step
from cascade.errors import ConfigError, did_you_mean
from cascade.logs import warn
from cascade.policy import Decision, Observation, Policy
from cascade.routing import Rung
from cascade.rules import Rule
from cascade.tier import Tier
from cascade.types import UNSET, Attempt, Verdict
from cascade.validation import Validator
from cascade.weighing import gives_score

if TYPE_CHECKING:
    from cascade.learn.router import LearnedRouter

__all__ = [
    "PolicySource",
    "answer_key",
    "check_policy",
    "check_thresholds_idle",
    "climb_by_policy",
    "comparable",
    "key_of",
    "observation",
    "weighed_by_policies",
]

RELOAD_S: Final = 5.0
"""How often a policy's file is looked at, in seconds."""

_LONGEST: Final = 120
"""Characters of an answer that is known by its own text."""

VERDICT: Final = "policy"
"""The name of the verdict that a policy leaves on an attempt."""


class PolicySource:
    """The policy in force: a fixed one, or what a file holds now.

    A file that changes is read again, looked at every few seconds. What cannot be read, or does not
    fit the cascade, is logged, and the policy before it stays in force.

    Args:
        policy: the policy, or its file.
        check: raises ConfigError when a policy does not fit the cascade.
        clock: seconds, from any start.
        text_of: the text of a call, from its arguments, for a policy that begins by it.

    Raises:
        ConfigError: the policy cannot be read, or does not fit the cascade.
    """

    __slots__ = (
        "_check",
        "_clock",
        "_file",
        "_look_at_s",
        "_policy",
        "_router",
        "_stamp",
        "_text_of",
        "version",
    )

    def __init__(
        self,
        policy: Policy | FilePath,
        check: Callable[[Policy], None],
        clock: Callable[[], float],
        text_of: Callable[[tuple[Any, ...], Mapping[str, Any]], str],
    ) -> None:
        self._check = check
        self._clock = clock
        self._text_of = text_of
        self._file = policy if isinstance(policy, FilePath) else None
        self._look_at_s = clock() + RELOAD_S
        self._stamp = self._stamp_now()
        self._put_in_force(Policy.load(policy) if isinstance(policy, FilePath) else policy)

    def current(self) -> Policy:
        """The policy for a call that starts now."""
        if self._file is not None and self._clock() >= self._look_at_s:
            self._look_at_s = self._clock() + RELOAD_S
            stamp = self._stamp_now()
            if stamp != self._stamp:
                self._stamp = stamp
                self._reload(self._file)
        return self._policy

    def chances(self, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> dict[str, float] | None:
        """What the router of the current policy says of a call. None: it has none, or abstains."""
        if self._router is None:
            return None
        chances = self._router.chances(self._text_of(args, kwargs))
        if chances is None:
            return None
        heads = self._router.model.heads
        return {head.tier: chance for head, chance in zip(heads, chances, strict=True)}

    def check(self, policy: Policy) -> None:
        """Raises ConfigError when a policy does not fit the cascade."""
        self._check(policy)

    def fall_back(self, policy: Policy) -> None:
        """Put another policy in force, until the file of this one changes.

        Raises:
            ConfigError: it does not fit the cascade.
        """
        self._put_in_force(policy)

    def _put_in_force(self, policy: Policy) -> None:
        """Raises ConfigError when it does not fit; what was in force then stays."""
        self._check(policy)
        router = _router_of(policy)
        self._policy, self._router, self.version = policy, router, policy.sha256()[:12]

    def _reload(self, file: FilePath) -> None:
        try:
            self._put_in_force(Policy.load(file))
        except ConfigError as error:
            warn("policy_refused", file=file.name, error=str(error))

    def _stamp_now(self) -> tuple[int, int] | None:
        if self._file is None:
            return None
        try:
            found = self._file.stat()
        except OSError:
            return None  # told when it is read
        return found.st_mtime_ns, found.st_size


def _router_of(policy: Policy) -> LearnedRouter | None:
    """The router that is the policy's tier 0. Raises ConfigError when it is none."""
    if policy.router is None:
        return None
    from cascade.learn.model import checked
    from cascade.learn.router import LearnedRouter

    return LearnedRouter(checked(policy.router, "the policy's router"))


def check_policy(
    policy: Policy, tiers: Sequence[Tier], validators: Iterable[Validator], cascade: str | None
) -> None:
    """Raises ConfigError when a policy was tuned for another cascade than this."""
    names = [tier.name for tier in tiers]
    for tier in policy.tiers:
        if tier not in names:
            raise ConfigError(
                f"the policy was tuned with the tier {tier!r}, which is not in this cascade; "
                f"{did_you_mean(tier, names)}, or tune it again"
            )
    if [name for name in names if name in policy.tiers] != list(policy.tiers):
        raise ConfigError(
            f"the policy was tuned for the ladder {' > '.join(policy.tiers)}, and this cascade's "
            f"is {' > '.join(names)}; tune it again"
        )
    known = {one.name: one for validator in validators for one in validator.walk()}
    for signal in policy.signals:
        if signal not in known:
            raise ConfigError(
                f"the policy goes by the score of the validator {signal!r}, which this cascade "
                f"does not have; {did_you_mean(signal, known)}, or tune it again"
            )
    _check_versions(policy, known)
    _check_facts(policy, tiers, cascade)


def _check_versions(policy: Policy, known: Mapping[str, Validator]) -> None:
    versions: Mapping[str, str] = policy.evidence.get("validators") or {}
    for signal in policy.signals:
        tuned_on = versions.get(signal)
        if tuned_on is not None and tuned_on != known[signal].version:
            raise ConfigError(
                f"the policy was tuned on scores of the validator {signal!r} in its version "
                f"{tuned_on}, and it is {known[signal].version or 'without one'} now (another "
                "rubric, prompt or model?); tune it again"
            )


def _check_facts(policy: Policy, tiers: Sequence[Tier], cascade: str | None) -> None:
    models: Mapping[str, str] = policy.evidence.get("models") or {}
    for tier in tiers:
        tuned_on = models.get(tier.name)
        if tuned_on is not None and tuned_on != tier.model:
            raise ConfigError(
                f"the policy was tuned with {tuned_on!r} as tier {tier.name!r}, and it is "
                f"{tier.model!r} now; tune it again on the new model"
            )
    tuned_for = policy.evidence.get("cascade")
    if tuned_for is not None and cascade is not None and tuned_for != cascade:
        raise ConfigError(
            f"the policy was tuned for the cascade {tuned_for!r}, and this is {cascade!r}; tune "
            "one for it"
        )


def weighed_by_policies(validators: Iterable[Validator]) -> frozenset[str]:
    """The names of the validators, parts included, whose thresholds decide nothing under a policy.

    All that a cascade has: the policy in force weighs some of the scores, and the next one others.
    """
    return frozenset(part.name for one in validators for part in one.walk())


def check_thresholds_idle(
    rungs: Iterable[Rung], rules: Iterable[Rule], weighed: Container[str]
) -> None:
    """See that thresholds really decide nothing under a policy, and that no rule counts on one.

    Args:
        rungs: of all paths.
        rules: whose validators come on top.
        weighed: the names of the cascade's own validators.

    Raises:
        ConfigError: a threshold decides whether another validator is asked; or a rule's threshold
            could do nothing.
    """
    for rung in rungs:
        for validator in (*rung.free, *rung.paid):
            for one in validator.walk():
                _check_paid_parts(one)
    for rule in rules:
        for validator in rule.validators:
            if validator.name in weighed and any(map(gives_score, validator.walk())):
                raise ConfigError(
                    f"rule {rule.name!r} adds the validator {validator.name!r}, as the cascade has "
                    "one, whose threshold decides nothing under a policy; leave it out of the "
                    f"rule, or tell the two apart with .named({rule.name!r})"
                )


def _check_paid_parts(validator: Validator) -> None:
    """Raises ConfigError where free parts' scores decide whether a paid part is asked."""
    if not isinstance(validator, Composite) or isinstance(validator, AnyOf | Weighted):
        return  # any with a score among its parts never rejects, whatever the others say
    free = [part for one in validator.parts if not one.paid for part in one.walk()]
    score = next(filter(gives_score, free), None)
    paid = next((one for one in validator.parts if one.paid and _has_own_say(one)), None)
    if score is not None and paid is not None:
        raise ConfigError(
            f"the validator {validator.name!r} asks {paid.name!r}, which is paid, only where the "
            f"score of {score.name!r} meets its threshold, and under a policy thresholds decide "
            "nothing; list the two apart instead of joining them"
        )


def _has_own_say(validator: Validator) -> bool:
    """Whether it may reject an answer for another reason than a score."""
    if gives_score(validator):
        return False
    return not isinstance(validator, Composite) or any(map(_has_own_say, validator.parts))


async def climb_by_policy(run: Run, policy: Policy) -> Step:
    """Ask tiers as the policy says, to the answer that it accepts."""
    return await _Climb(run, policy).climb()


class _Climb:
    """One call's way by a policy.

    Attributes:
        seen: what each tier that answered showed, in the order in which they were asked.
        answered: their attempts.
        asked: the places of the rungs that were asked, with or without an answer.
    """

    def __init__(self, run: Run, policy: Policy) -> None:
        self._run = run
        self._policy = policy
        self._places = {rung.tier.name: place for place, rung in enumerate(run.plan.rungs)}
        slice_ = run.labels.signals.get(policy.slice_by or "")
        self._slice = "" if slice_ is None else str(slice_)
        source = run.plan.policy
        chances = None if source is None else source.chances(run.args, run.kwargs)
        self._chances = None if chances is None else list(chances.values())
        if chances is not None:
            run.route_reason = _by_text(chances, run.route_reason)
        self.seen: dict[str, Observation] = {}
        self.answered: dict[str, Attempt] = {}
        self.asked: set[int] = set()

    async def climb(self) -> Step:
        run = self._run
        while True:
            decision = self._decide()
            if decision is not None and decision.action == "accept" and self._accept(decision):
                return ACCEPT
            place = self._next(decision)
            if place is None:
                return ACCEPT if self._accept_the_last(decision) else EXHAUSTED
            place = run.next_place(place)
            if place is None:
                return OUT_OF_TIME
            if await run.is_too_dear(place):
                return OUT_OF_MONEY
            attempt = await self._ask(place)
            time_left_s = run.time_left_s()
            if attempt.reason == "spend":
                return OUT_OF_MONEY
            if time_left_s is not None and time_left_s <= 0:
                return OUT_OF_TIME

    def _decide(self) -> Decision | None:
        """None: the policy was not tuned for the tiers that answered."""
        if self.seen and ">".join(self.seen) not in self._policy.states:
            return None
        return self._policy.decide(self.seen, self._slice, self._chances)

    def _next(self, decision: Decision | None) -> int | None:
        """The place to ask next. None: nothing is left to ask."""
        if decision is not None and decision.action == "ask":
            place = self._places.get(decision.tier)
            if place is not None and place not in self.asked:
                return place
        above = max(self.asked, default=-1) + 1
        return above if above < len(self._run.plan.rungs) else None

    async def _ask(self, place: int) -> Attempt:
        run = self._run
        rung = run.plan.rungs[place]
        attempt = Attempt(rung.tier.name, model=rung.tier.model)
        run.attempts.append(attempt)
        self.asked.add(place)
        with run.plan.observers.attempt_span(attempt):
            await attempt_rung(run, rung, attempt, None)
        if attempt.answer is not None:
            self.seen[attempt.tier] = observation(attempt)
            self.answered[attempt.tier] = attempt
            if attempt.outcome == "accepted":  # by the validators that decide; the policy has not
                attempt.outcome, attempt.reason = "rejected", VERDICT
        return attempt

    def _accept(self, decision: Decision) -> bool:
        """Whether the answer that the policy accepts may be: no other validator rejected it."""
        if not self.seen[decision.tier].schema_ok:
            return False
        attempt = self.answered[decision.tier]
        attempt.verdicts.append(Verdict("passed", decision.probability, validator=VERDICT))
        attempt.outcome, attempt.reason = "accepted", ""
        return True

    def _accept_the_last(self, decision: Decision | None) -> bool:
        """With nobody left to ask, whether the last rung's answer is accepted as it would be alone.

        Not if the policy had its say, and chose an answer that another validator rejected.
        """
        last = self._run.plan.rungs[max(self.asked)].tier.name
        had_its_say = decision is not None and decision.action == "accept"
        if had_its_say or last not in self.seen or not self.seen[last].schema_ok:
            return False
        self.answered[last].outcome, self.answered[last].reason = "accepted", ""
        return True


def _by_text(chances: Mapping[str, float], before: str | None) -> str:
    """Why a call begins where it does, in words without content."""
    told = ", ".join(f"{tier} {chance:.2f}" for tier, chance in chances.items())
    said = f"by its text, the probability of being right is {told}"
    return said if before is None else f"{before}; {said}"


def observation(attempt: Attempt) -> Observation:
    """What an attempt with an answer shows a policy."""
    scores: dict[str, float | None] = {}
    for verdict in _with_parts(attempt.verdicts):
        scores.setdefault(verdict.validator, verdict.score)
    usages = [charge.usage for charge in attempt.charges if charge.purpose == "answer"]
    written = [usage.output_tokens for usage in usages if usage is not None]
    cost_usd = attempt.cost_usd
    return Observation(
        signals=scores,
        answer=answer_key(attempt.value),
        schema_ok=attempt.outcome == "accepted",
        cost_usd=None if cost_usd is None else float(cost_usd),
        output_tokens=float(sum(written)) if written else None,
    )


def comparable(value: Any) -> str | None:
    """A text that is the same for answers that say the same. None: there is nothing to compare."""
    if value is UNSET or value is None:
        return None
    if not isinstance(value, str):
        try:
            return json.dumps(value, sort_keys=True, ensure_ascii=False, default=str)
        except (TypeError, ValueError, RecursionError):
            return None
    return " ".join(value.split()).casefold()


def answer_key(value: Any) -> str | None:
    """What policies and recorded runs know an answer by. None: there is nothing to compare."""
    text = comparable(value)
    return None if text is None else key_of(text)


def key_of(text: str) -> str:
    """A text of `comparable` as a key: of a long one a digest, so that no file is full of them."""
    if len(text) <= _LONGEST:
        return text
    return "sha256:" + hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:32]


def _with_parts(verdicts: Iterable[Verdict]) -> Iterable[Verdict]:
    for verdict in verdicts:
        yield verdict
        yield from _with_parts(verdict.parts)
