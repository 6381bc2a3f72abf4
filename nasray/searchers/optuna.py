"""Optuna's samplers for one objective or several, over the parameters of architectures and settings.

Trials that were stopped early are reported as pruned, without values, and budgets as constraints: samplers prefer
trials without violations. The study lives in memory. What another searcher proposed is added to it.
"""

from __future__ import annotations

import warnings
from abc import abstractmethod
from typing import Any

import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.samplers import BaseGASampler, BaseSampler
from optuna.trial import TrialState, create_trial

from nasray.errors import InvalidInput
from nasray.searchers.gaussian import BoundedGP
from nasray.searchers.parameters import is_active
from nasray.searchers.searcher import Feedback, Proposal, Searcher, SearchProblem, check_values
from nasray.settings import Choice, Range

STATES = {"complete": TrialState.COMPLETE, "pruned": TrialState.PRUNED, "failed": TrialState.FAIL}
"""What a feedback's states are to Optuna."""


class OptunaSearcher(Searcher):
    """One of Optuna's samplers, which a subclass makes."""

    def __init__(self, config: Searcher.Config, problem: SearchProblem) -> None:
        super().__init__(config, problem)
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        self.study = optuna.create_study(
            directions=["maximize" if mode == "max" else "minimize" for mode in problem.objectives.values()],
            sampler=self.sampler(problem.seed, config.evaluations),
        )
        self._distributions = distributions(problem)
        self._always = {
            name: one
            for name, one in self._distributions.items()
            if name not in problem.settings or problem.settings[name].when is None
        }
        self._open: dict[int, optuna.Trial] = {}
        self._resumed: dict[str, optuna.Trial] = {}
        """By key, what an earlier session proposed and is still under way: samplers keep away from it."""

    @staticmethod
    @abstractmethod
    def sampler(seed: int, evaluations: int) -> BaseSampler:
        """The sampler, with Optuna's defaults unless set otherwise.

        Args:
            seed: of all that it draws.
            evaluations: how many proposals are made in all: at most a quarter of them are drawn before it learns.
        """

    def ask(self) -> Proposal:
        """What the sampler proposes: it may have been proposed before."""
        trial = self._asked()
        self._open[trial.number] = trial
        return self.problem.proposal(trial.params, trial.number)

    def tell(self, proposal: Proposal, feedback: Feedback) -> None:
        """Tell the study what a trial came to, or add one to it.

        Raises:
            InvalidInput: another number of values than of objectives, or a proposal that is not open.
        """
        check_values(feedback, self.problem)
        if proposal.number is not None:
            if proposal.number not in self._open:
                raise InvalidInput(f"Proposal {proposal.number} is not open: tell each proposal once.")
            self._close(self._open.pop(proposal.number), feedback)
            return
        if proposal.key in self._resumed:
            self._close(self._resumed.pop(proposal.key), feedback)
            return
        if isinstance(self.study.sampler, BaseGASampler):
            # A genetic sampler counts only trials of a generation, which it can give to open ones alone.
            self._close(self._opened(proposal), feedback)
            return
        params = self.problem.values(proposal)
        trial = create_trial(
            state=STATES[feedback.state],
            values=list(feedback.values) or None,
            params=params,
            distributions={name: self._distributions[name] for name in params},
            constraints=dict(feedback.constraints),
        )
        self.study.add_trial(trial)

    def resume(self, proposal: Proposal) -> None:
        """Take what an earlier session proposed for a trial that is running."""
        self._resumed[proposal.key] = self._opened(proposal)

    def _opened(self, proposal: Proposal) -> optuna.Trial:
        """A running trial of a proposal that the sampler did not make."""
        self.study.enqueue_trial(self.problem.values(proposal))
        trial = self._asked()
        if isinstance(sampler := self.study.sampler, BaseGASampler):
            sampler.get_trial_generation(self.study, self.study.get_trials(deepcopy=False)[trial.number])
        return trial

    def _asked(self) -> optuna.Trial:
        trial = self.study.ask(self._always)
        for name, one in self.problem.settings.items():
            if one.when is not None and is_active(one, trial.params):
                suggest(trial, name, self._distributions[name])
        return trial

    def _close(self, trial: optuna.Trial, feedback: Feedback) -> None:
        for name, above in feedback.constraints.items():
            trial.set_constraint(name, above)
        self.study.tell(trial, list(feedback.values) or None, state=STATES[feedback.state])


class TPE(OptunaSearcher):
    """Tree-structured Parzen estimators for several objectives, Optuna's (Ozaki et al., GECCO 2020).

    Parameters are modelled jointly. One by one, as Optuna does by default, the parameters of an architecture come back
    in few combinations: of 1,000 proposals for NAS-Bench-201 some 250 were different, and their front was no better
    than a random one.
    """

    @staticmethod
    def sampler(seed: int, evaluations: int) -> BaseSampler:
        """The sampler of Optuna's that proposes."""
        return optuna.samplers.TPESampler(seed=seed, multivariate=True, n_startup_trials=startup(evaluations))


class GP(OptunaSearcher):
    """Gaussian processes, Optuna's: for evaluations that take minutes, for it takes seconds itself. Of more than 500
    results it models the 250 best, and of the others the newest. Settings that depend on others (``when``) are drawn
    at random: Optuna's models have no place for what only some results have."""

    @staticmethod
    def sampler(seed: int, evaluations: int) -> BaseSampler:
        """The sampler of Optuna's that proposes."""
        return BoundedGP(seed=seed, n_startup_trials=startup(evaluations), warn_independent_sampling=False)


class NSGA2(OptunaSearcher):
    """NSGA-II, Optuna's (Deb et al., 2002)."""

    @staticmethod
    def sampler(seed: int, evaluations: int) -> BaseSampler:
        """The sampler of Optuna's that proposes."""
        return optuna.samplers.NSGAIISampler(seed=seed, population_size=population(evaluations))


class NSGA3(OptunaSearcher):
    """NSGA-III, Optuna's (Deb and Jain, 2014): for three objectives and more."""

    @staticmethod
    def sampler(seed: int, evaluations: int) -> BaseSampler:
        """The sampler of Optuna's that proposes. Optuna calls it experimental; its warning at every use is silenced."""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            return optuna.samplers.NSGAIIISampler(seed=seed, population_size=population(evaluations))


def startup(evaluations: int) -> int:
    """Proposals that are drawn before a model is made: Optuna's ten, or a quarter of all where that is less."""
    return min(10, max(1, evaluations // 4))


def population(evaluations: int) -> int:
    """Proposals of a generation: Optuna's fifty, or a quarter of all where that is less."""
    return min(50, max(4, evaluations // 4))


def distributions(problem: SearchProblem) -> dict[str, BaseDistribution]:
    """What all parameters are drawn from, as Optuna has it."""
    return {
        **{name: CategoricalDistribution(values) for name, values in problem.architecture_parameters.items()},
        **{name: _distribution(one) for name, one in problem.settings.items()},
    }


def _distribution(one: Range | Choice) -> BaseDistribution:
    if isinstance(one, Choice):
        return CategoricalDistribution(one.values)
    if one.integer:
        return IntDistribution(int(one.low), int(one.high), log=one.log)
    return FloatDistribution(one.low, one.high, log=one.log)


def suggest(trial: optuna.Trial, name: str, one: BaseDistribution) -> Any:
    """A value of a setting that only some trials have."""
    if isinstance(one, CategoricalDistribution):
        return trial.suggest_categorical(name, one.choices)
    if isinstance(one, IntDistribution):
        return trial.suggest_int(name, one.low, one.high, log=one.log)
    assert isinstance(one, FloatDistribution)
    return trial.suggest_float(name, one.low, one.high, log=one.log)
