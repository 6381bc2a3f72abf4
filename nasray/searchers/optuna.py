"""Optuna's samplers for several objectives, over the categorical parameters of architectures.

Trials that were stopped early are reported as pruned, without values, and budgets as constraints: samplers prefer
trials without violations. The study lives in memory. What another searcher proposed is added to it.
"""

from __future__ import annotations

import warnings
from abc import abstractmethod

import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution
from optuna.samplers import BaseGASampler, BaseSampler
from optuna.trial import TrialState, create_trial

from nasray.errors import InvalidInput
from nasray.searchers.searcher import Feedback, Proposal, Searcher, SearchProblem, check_values
from nasray.spaces.encoding import decode, encode

STATES = {"complete": TrialState.COMPLETE, "pruned": TrialState.PRUNED, "failed": TrialState.FAIL}
"""What a feedback's states are to Optuna."""


class OptunaSearcher(Searcher):
    """One of Optuna's samplers, which a subclass makes."""

    def __init__(self, config: Searcher.Config, problem: SearchProblem) -> None:
        super().__init__(config, problem)
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        self.study = optuna.create_study(
            directions=["maximize" if mode == "max" else "minimize" for mode in problem.objectives.values()],
            sampler=self.sampler(problem.seed),
        )
        self._distributions: dict[str, BaseDistribution] = {
            name: CategoricalDistribution(values) for name, values in problem.parameters.items()
        }
        self._open: dict[int, optuna.Trial] = {}

    @staticmethod
    @abstractmethod
    def sampler(seed: int) -> BaseSampler:
        """The sampler, with Optuna's defaults unless set otherwise."""

    def ask(self) -> Proposal:
        """What the sampler proposes: it may have been proposed before."""
        trial = self.study.ask(self._distributions)
        self._open[trial.number] = trial
        return Proposal(decode(self.problem.space, trial.params, self.problem.cells), trial.number)

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
        params = encode(self.problem.space, proposal.architecture)
        if isinstance(sampler := self.study.sampler, BaseGASampler):
            # A genetic sampler counts only trials of a generation, which it can give to open ones alone.
            self.study.enqueue_trial(params)
            asked = self.study.ask(self._distributions)
            sampler.get_trial_generation(self.study, self.study.get_trials(deepcopy=False)[asked.number])
            self._close(asked, feedback)
            return
        trial = create_trial(
            state=STATES[feedback.state],
            values=list(feedback.values) or None,
            params=dict(params),
            distributions=self._distributions,
            constraints=dict(feedback.constraints),
        )
        self.study.add_trial(trial)

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
    def sampler(seed: int) -> BaseSampler:
        """The sampler of Optuna's that proposes."""
        return optuna.samplers.TPESampler(seed=seed, multivariate=True)


class GP(OptunaSearcher):
    """Gaussian processes, Optuna's: for evaluations that take minutes, for it takes seconds itself."""

    @staticmethod
    def sampler(seed: int) -> BaseSampler:
        """The sampler of Optuna's that proposes."""
        return optuna.samplers.GPSampler(seed=seed)


class NSGA2(OptunaSearcher):
    """NSGA-II, Optuna's (Deb et al., 2002)."""

    @staticmethod
    def sampler(seed: int) -> BaseSampler:
        """The sampler of Optuna's that proposes."""
        return optuna.samplers.NSGAIISampler(seed=seed)


class NSGA3(OptunaSearcher):
    """NSGA-III, Optuna's (Deb and Jain, 2014): for three objectives and more."""

    @staticmethod
    def sampler(seed: int) -> BaseSampler:
        """The sampler of Optuna's that proposes. Optuna calls it experimental; its warning at every use is silenced."""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            return optuna.samplers.NSGAIIISampler(seed=seed)
