"""Alarms: what makes the numbers of a finished run say less than they seem to, in words, with what each rests on."""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np
import pandas as pd

from clipcap_lib.analysis.results import Results, of_test
from clipcap_lib.dataset import Split
from clipcap_lib.features import Features
from clipcap_lib.model import ClipCapModel
from clipcap_lib.packing import tokenize_captions
from clipcap_lib.runs import Run, loss_curve
from clipcap_lib.training import dev_loss
from clipcap_lib.wording import say

SAME = 0.25  # of the pairs of test pictures: with so many more captions shared than references a run has collapsed
SLIGHT = 0.02  # of a loss: a smaller change is none; the same share tells `still_falling`
PICTURES = 100  # test pictures whose features are exchanged


def find_alarms(results: Results) -> list[str]:
    """What there is to doubt about some runs, a sentence each, which begins with the run's label.

    Looked at: whether a run's captions have collapsed, whether it ignores the pictures, whether it is over-fitted,
    whether its learning rate never left its warm-up. That it was still learning is said where its loss is.
    """
    references = results.corpus.references().str[0]
    several = len({run.params["seed"] for run in results.runs}) > 1
    return [
        say("{run}: {alarm}.", run=_name(run) if several else run.label, alarm=alarm)
        for run in results.runs
        for alarm in _alarms(results, run, references)
        if alarm
    ]


def _name(run: Run) -> str:
    return say("{run}, seed {seed}", run=run.label, seed=run.params["seed"])


def _alarms(results: Results, run: Run, references: pd.Series) -> Iterator[str | None]:
    captions = of_test(run)
    yield collapsed(captions.tolist(), references[captions.index].tolist())
    model = results.models.get(run.name) or ClipCapModel.for_decoding(run.folder / "model")
    yield ignores_pictures(model, _test_split(results, model, references))
    yield over_fitted(run)
    yield only_warmed_up(run)


def collapsed(captions: Sequence[str], references: Sequence[str]) -> str | None:
    """Whether a run says the same of nearly every test picture: of each its caption and one of its references.

    Told by how often two pictures share a caption, for the share of different captions falls with the number of
    pictures. A quarter is one caption for half of them, or no more than four. Pictures may rightly share a caption: as
    often as they share a reference does not count.
    """
    shared, rightly = _shared(captions), _shared(references)
    if shared - rightly < SAME:
        return None
    commonest, times = Counter(captions).most_common(1)[0]
    return say(
        "collapsed: two test pictures have the same caption in {shared:.0%} of cases (the same reference in "
        "{rightly:.0%}); different captions: {different} for {pictures} pictures; {times} times “{commonest}”",
        shared=shared,
        rightly=rightly,
        different=len(set(captions)),
        pictures=len(captions),
        times=times,
        commonest=commonest,
    )


def _shared(texts: Sequence[str]) -> float:
    """How often two different ones of some texts are equal."""
    pairs = len(texts) * (len(texts) - 1)
    return sum(times * (times - 1) for times in Counter(texts).values()) / pairs if pairs else 0.0


def ignores_pictures(model: ClipCapModel, split: Split) -> str | None:
    """Whether the references are as probable behind the features of other pictures as behind those of their own.

    Losses tell it, not captions: exchanged features give the same greedy captions in another order, of which as many
    stay as two pictures share, and that is what `collapsed` looks at. Captions that change with the features but have
    nothing to do with the picture are told by losses only.
    """
    if len(split.images) < 2:
        return None
    own, other = dev_loss(model, split), dev_loss(model, _exchanged(split))
    if other > (1 + SLIGHT) * own:
        return None
    return say(
        "ignores its pictures: over references of {pictures} test pictures the loss is {own:.3f} nats a token behind "
        "their own features and {other:.3f} behind those of other pictures",
        pictures=len(split.images),
        own=own,
        other=other,
    )


def over_fitted(run: Run) -> str | None:
    """Whether the dev loss has turned up while the train loss went on falling, and which weights were kept."""
    dev, train = (loss_curve(run.history, split).set_index("step")["value"] for split in ("dev", "train"))
    best, last, window = dev.idxmin(), dev.index[-1], run.params["evaluate_every"]
    before, after = (train.loc[max(step, window) - window + 1 : max(step, window)].mean() for step in (best, last))
    if dev[last] < (1 + SLIGHT) * dev[best] or after >= before:
        return None
    keeps_best = run.params["keep"] == "best"
    return say(
        "over-fitted: the dev loss rose from {lowest:.3f} at step {best:,} to {latest:.3f} at step {last:,}, the train "
        "loss fell from {before:.3f} to {after:.3f} (means of {window:,} steps); the weights saved are {kept}",
        lowest=dev[best],
        best=best,
        latest=dev[last],
        last=last,
        before=before,
        after=after,
        window=window,
        kept=say("those of step {best:,}", best=best)
        if keeps_best
        else say("the last ones; keep: best keeps the best"),
    )


def only_warmed_up(run: Run) -> str | None:
    """Whether the learning rate was still rising to its peak when training ended, and what it had reached."""
    steps, warmup, peak = run.summary["steps"], run.params["warmup_steps"], run.params["learning_rate"]
    if steps > warmup:
        return None
    return say(
        "never left its warm-up: training ended at step {steps:,} of {warmup:,}, where the learning rate was "
        "{rate:.2g}, {share:.0%} of its peak; lower warmup_steps or raise steps",
        steps=steps,
        warmup=warmup,
        rate=peak * steps / warmup,
        share=steps / warmup,
    )


def _test_split(results: Results, model: ClipCapModel, references: pd.Series) -> Split:
    """The first test pictures with a reference each, as the model reads them."""
    texts = references[results.corpus.test_images(PICTURES)["image_id"]].tolist()
    order, config = np.arange(len(texts)), model.config
    tokens = tokenize_captions(
        texts, order.tolist(), model.tokenizer, config.max_caption_tokens, append_end=not config.stop_token
    )
    return Split(Features(results.features(model, PICTURES).numpy(), order, 0.0, 0), tokens, order)


def _exchanged(split: Split) -> Split:
    """The same captions behind the features of other pictures: each has those of the next in a drawn circle."""
    circle = np.random.default_rng(0).permutation(split.images)
    rows = split.features.rows.copy()
    rows[circle] = split.features.rows[np.roll(circle, 1)]
    return replace(split, features=replace(split.features, rows=rows))
