"""What a number, a word or a tier means, said to a person who is no statistician."""

from collections.abc import Mapping, Sequence
from typing import Any

from expunge.auditing import Tier
from expunge.judging import Word
from expunge.metric import Exhibit

SYMBOLS: dict[Word, str] = {"equivalent": "✓", "residual": "✕", "inconclusive": "?"}
"""Beside every word and colour, so that neither is needed to tell them apart."""

MEANINGS: dict[Word, str] = {
    "equivalent": "On what decides here, the model behaves like models that were trained without "
    "the forgotten data, within the margin that was declared beforehand.",
    "residual": "The model still differs from models that were trained without the forgotten "
    "data, by more than chance explains.",
    "inconclusive": "This evidence cannot tell. That is neither a pass nor a fail.",
}
"""What each verdict says, in one sentence."""

_OF_ATTRIBUTES: dict[Word, str] = {
    "equivalent": "On what decides here, the attribute can no longer be read, but for less than "
    "the floor that was declared beforehand.",
    "residual": "The attribute can still be read, or comes back, by more than the floor that was "
    "declared beforehand.",
    "inconclusive": MEANINGS["inconclusive"],
}


def meaning(word: Word, kind: str) -> str:
    """What a verdict says, in one sentence, about a request of this kind."""
    return (_OF_ATTRIBUTES if kind == "attribute" else MEANINGS)[word]


TIERS: dict[Tier, str] = {
    "smoke": "smoke, a quick look",
    "standard": "standard, the usual depth",
    "strict": "strict, the full depth",
}
"""How much was spent on the audit."""

_READINGS = {
    "membership AUC": "How well an attacker tells forgotten samples from unseen ones; "
    "0.5 is guessing. What counts is what retrained models score.",
    "rehearsal p": "How often coins that nobody used agree as well with what attacks believe of "
    "canaries that were forgotten. A small one accuses the way of training and unlearning.",
    "rehearsal epsilon at least": "How much the whole way leaks about a canary, at the very least; "
    "0 says that nothing was found.",
    "forget accuracy": "Share of the forgotten samples that the model still answers correctly.",
    "retain accuracy": "Share of the training samples that stay that are answered correctly.",
    "test accuracy": "Share of unseen samples that are answered correctly.",
    "test accuracy, kept classes": "Share of unseen samples of the classes that stay "
    "that are answered correctly.",
    "test accuracy, removed classes": "Share of unseen samples of the removed classes that are "
    "still given their old class.",
    "test accuracy, removed class": "Share of unseen samples of this class that are still "
    "recognised.",
    "forget accuracy gap": "Accuracy less the retrained models', on the forgotten samples.",
    "retain accuracy gap": "Accuracy less the retrained models', on the samples that stay.",
    "test accuracy gap": "Accuracy less the retrained models', on unseen samples.",
    "AUS": "Usefulness kept, divided by forgetting missed. One is ideal; a summary only.",
    "forget loss": "Mean error on the forgotten samples; very small means well remembered.",
    "retain loss": "Mean error on the samples that stay.",
    "test loss": "Mean error on unseen samples.",
    "test loss, kept classes": "Mean error on unseen samples of the classes that stay.",
    "KL divergence": "How surprising the model's answers are to one who expects the retrained "
    "models'; zero is the same.",
    "JS divergence": "Distance between the model's answers and the retrained models', 0 to 1.",
    "disagreement": "Share of forgotten samples on which the answer differs from the retrained "
    "models'.",
    "activation distance": "Mean distance between the model's answers and the retrained models'.",
    "attribution rank correlation": "How alike the inputs are that the unlearned and the retrained "
    "models' answers rest on; 1 is the same order of importance. The sanity row shows what a "
    "model without knowledge reaches.",
    "attribution sanity": "The same between the model and itself with its weights shuffled. The "
    "nearer to zero, the more the maps say about the model.",
    "attribution completeness": "How far the attributions miss the sum that they must have; a "
    "check of the arithmetic.",
    "attribution mass": "Share of what the answers rest on that lies in the region.",
    "silenced answer": "How well the output of a removed class still ranks who is of it, in log "
    "odds: 3 is 95 % of the pairs, 5 is 99.3 %. A mask leaves that as it was, however deep it is.",
    "class-probe AUC": "How well a linear probe tells the removed classes by the features alone; "
    "retrained models may do so too. Far above them, a class is hidden and not forgotten.",
    "membership-probe AUC": "How well a linear probe tells forgotten samples from unseen ones by "
    "the features alone; 0.5 is guessing.",
    "distance to own class": "How far the features of forgotten samples lie from the centre of "
    "their class.",
    "distance to nearest other class": "How far the features of forgotten samples lie from the "
    "nearest centre of another class.",
    "distance to the original's nearest other class": "The same for the class that was nearest in "
    "the original, where methods that move features send a sample. The original's is the smallest "
    "by choice.",
    "silhouette": "How much nearer forgotten samples lie to each other's class than to the next "
    "one, -1 to 1; high means that they still lie together.",
    "neighbours of the same class": "Share of the nearest training samples, by features, that "
    "carry the same label.",
    "forget-flow divergence": "How differently the forgotten samples are spread over the classes, "
    "compared with retrained models; 0 is the same, 1 is nothing shared.",
    "conditional leakage": "What the best of several probes gains about the attribute, beyond what "
    "the label tells by itself.",
    "conditional leakage (bits)": "Bits about the attribute that the best of several probes reads "
    "from the features, beyond what the label tells; one bit answers a yes or no.",
    "conditional leakage (AUC)": "How well the best probe ranks, inside every class; 0.5 is "
    "guessing.",
    "conditional leakage (accuracy gain)": "Right guesses that features add to what the label "
    "tells.",
    "leakage": "The same for a probe that is not told the label: whatever the label tells of the "
    "attribute counts too.",
    "exposed samples among the forgotten": "Share of the forgotten samples that the model knows "
    "better than nearly all retrained models do; what counts is the share of theirs.",
    "standing of the most exposed": "How far the most exposed samples stand out among retrained "
    "models, in their deviations.",
    "held-out samples seen in training": "Share of the samples for probes whose inputs are those "
    "of training samples; on them nobody can say what the model makes of others.",
    "accuracy on validation samples less on test samples": "The original's; far from zero, one of "
    "the two is shown otherwise, and probes that learn from one find nothing in the other.",
    "exposed samples": "Share of samples whose attribute the features still tell for the most "
    "part, by more than half a bit.",
    "reference line": "A yardstick, not a property of the unlearned model.",
    "re-attack (bits)": "Bits that come back when a copy of the whole network is trained to tell "
    "the attribute, mean over several numbers of labels.",
    "re-attack with": "The same with so many labels.",
    "re-attack above an untrained model": "Bits that come back when a copy of the network is "
    "trained to tell the attribute, less what a network gets to that starts from nothing. What is "
    "above was still in the weights.",
    "demographic parity gap": "Largest difference between groups in how often a class is "
    "answered; 0 is none.",
    "equalised odds gap": "The same among samples of one true class.",
    "worst-group accuracy": "Accuracy in the group that is served worst.",
    "smallest cell": "Samples of the rarest group of any class; gaps that rest on few say little.",
    "other attribute": "Bits about an attribute that should have stayed, beyond the label.",
    "accuracy lost on the test set": "Accuracy of the original less the unlearned model's, sample "
    "by sample.",
    "relearning steps": "Training steps until a copy of the network knows again what left, mean "
    "over several runs. A class that was only hidden comes back in fewer steps than a retrained "
    "model needs to learn it.",
    "median relearning steps": "The same for the middle run.",
    "anamnesis index": "Those steps as a share of the retrained models'. One is like retraining; "
    "far below, something was left, far above, something else was broken.",
    "relearning between original and untrained": "Where those steps lie: 0 is the original, 1 a "
    "model that was never trained.",
    "blind baseline AUC": "How well forgotten samples are told from unseen ones by who sees inputs "
    "and no model. Should be 0.5; otherwise membership attacks find a difference that is no "
    "memory.",
    "representation CKA": "How alike the model and retrained ones see the samples, whatever axes "
    "their features have; 1 is the same, 0 has nothing in common.",
    "representation distance": "What is left between the features of both after the best rotation; "
    "0 is the same.",
    "KLoM": "How far the margins of many models unlearned in this way are from those of retrained "
    "ones, sample by sample. What retrained models have among themselves is its zero.",
    "samples with other margins": "Share of samples whose margins differ between both kinds of "
    "models by more than chance explains.",
    "challenge forgetting quality": "Points of the NeurIPS 2023 challenge. Models that cannot be "
    "told apart get 0.1 to 0.2, and the number of models moves it.",
    "challenge score": "The same, times what is kept of the accuracy.",
    "challenge quality relative to retraining": "The same points, over those of retrained models "
    "among themselves; one is as good as retraining.",
    "challenge ε, lower bound": "How surely unlearned models are told from retrained ones, at "
    "least; 0 is not at all.",
    "ToW": "Closeness to the retrained models' accuracies on three sets, multiplied. One is ideal; "
    "a summary only.",
    "ToW-MIA": "The same with an attack in place of the accuracy on the forgotten samples.",
    "average gap": "Mean distance to the retrained models in four rates, in points; a summary.",
    "ZRF": "How much the answers about the forgotten are like those of an untrained model. It "
    "should be what it is for retrained ones, not as large as can be.",
    "calibration error": "How far confidence and accuracy lie apart; above zero for few samples "
    "whatever the model does.",
    "Brier score": "Squared distance of the answers from the truth; smallest for who says it.",
    "log-loss": "Mean surprise at the true label.",
    "update leakage": "How well who holds the model before and after tells whom the update is "
    "about. Exact retraining tells it too: this is no failure to forget.",
    "accuracy lost in the worst-hit class": "What the class that stays and loses most has lost.",
    "accuracy lost near the forget set": "What the nearest samples that stay lost beyond all "
    "others.",
    "membership AUC of samples that stay": "How well an attacker tells samples that stay from "
    "unseen ones: forgetting some may expose others.",
    "weight distance": "Distance to retrained weights. Two retrained models may be as far apart.",
    "seconds to unlearn": "Time that the method took.",
    "optimizer steps": "How often the weights were changed.",
    "speed relative to retraining": "Time to retrain, divided by the time to unlearn: 3 is three "
    "times as fast.",
}


def reading(name: str) -> str:
    """How to read a measurement; nothing where its name is not known here."""
    known = [start for start in _READINGS if name.startswith(start)]
    return _READINGS[max(known, key=len)] if known else ""


_CAPTIONS = {
    ("fpr", "tpr"): "The higher a line rises above the diagonal, the better the attack. The "
    "unlearned model's line should run where the retrained models' does. Where false alarms are "
    "few, on the right, single samples give themselves away.",
    ("standing", "share"): "Zero is where retrained models stand, on average; everybody counts "
    "once. What lies to the right of the retrained models' line is still remembered, and what lies "
    "to the left was pushed too far.",
    ("class", "accuracy"): "The unlearned model should stand where the retrained models do, "
    "class by class.",
    ("loss", "share"): "Where both shapes coincide, a model treats the forgotten samples as it "
    "treats unseen ones. The unlearned panel should look like the retrained one.",
    ("column", "row"): "Stronger places move the true class's answer more. The unlearned model "
    "should look where the retrained ones do. All maps share one scale.",
    ("feature", "attribution"): "The share of each input in what the true class's answer rests "
    "on. The unlearned model should stand where the retrained ones do.",
    ("model", "sample"): "Each map is scaled to its own strongest place, which is black. This "
    "page holds the samples themselves: keep it as you keep the data.",
    ("predicted class", "model"): "A stronger colour is a larger share. The unlearned model's row "
    "should look like the retrained one, not merely unlike the original's.",
    ("predicted class", "true class and model"): "A stronger colour is a larger share. For each "
    "class, the unlearned model's row should look like the retrained one.",
    ("first principal direction", "second principal direction"): "The same samples before and "
    "after, on one pair of axes, the second panel turned onto the first. A map is for the eye: it "
    "shows two directions of many. Point at a sample for its class.",
    ("first t-SNE direction", "second t-SNE direction"): "The same samples before and after, on "
    "one map. Distances between clusters mean nothing here. Point at a sample for its class.",
    ("place", "bits"): "The band is a 95 % interval. Removal at the feature layer leaves what lies "
    "before it; the logits should tell no more than the features.",
    ("labels", "bits"): "The band is a 95 % interval. Where the unlearned model's line runs above "
    "the untrained one's, something was only hidden.",
    ("bits", "share"): "Everybody counts once, and nobody is named. The further to the right, the "
    "more the features tell of a sample's attribute; at zero they tell nothing.",
    ("first telling direction", "second telling direction"): "Each panel has its own directions, "
    "those along which probes would look, found on other samples. Groups that lie apart can be "
    "told; a map shows two directions of many, and proves nothing by their lying together.",
    ("steps", "share"): "A line that falls early is a model that learns soon. The unlearned "
    "model's should fall where the retrained models' does.",
    ("layer", "CKA"): "From the inputs on. The unlearned model should stand where retrained models "
    "stand to each other.",
    ("share of samples", "KLoM"): "All samples, in order. The unlearned line should run where that "
    "of retrained models among themselves does.",
    (
        "confidence",
        "accuracy",
    ): "On the diagonal a model is as often right as it says; below it, it is too sure.",
    ("class", "accuracy lost"): "No class should lose much more than it does by retraining.",
    ("step", "loss"): "The method's own objective, step by step.",
    ("step", "accuracy"): "What the method saw while it worked. The forgotten should fall, a class "
    "to nothing and single samples to where unseen ones lie; all else should stay where it was.",
}


def caption(exhibit: Exhibit) -> str:
    """How to read a picture; nothing where its axes are not known here."""
    darker = "Darker is more." if exhibit.kind == "matrix" else ""
    return _CAPTIONS.get((exhibit.x, exhibit.y), darker)


def asked(targets: Sequence[Mapping[str, Any]]) -> str:
    """What was asked to be forgotten: ``class 3``, ``10 samples``."""
    return " and ".join(_one(target) for target in targets)


def question(targets: Sequence[Mapping[str, Any]]) -> str:
    """The question that the report answers."""
    what = asked(targets)
    several = " and " in what or any(_many(target) for target in targets)
    return f"{'Were' if several else 'Was'} {what} forgotten?"


def _one(target: Mapping[str, Any]) -> str:
    match target.get("kind"):
        case "classes":
            labels = [str(label) for label in target["labels"]]
            return f"{'class' if len(labels) == 1 else 'classes'} {_listed(labels)}"
        case "samples":
            count = int(target["count"])
            return f"{count:,} {'sample' if count == 1 else 'samples'}"
        case _:
            return f"the attribute “{target.get('name', '')}”"


def _many(target: Mapping[str, Any]) -> bool:
    return len(target.get("labels", ())) > 1 or int(target.get("count", 1)) > 1


def _listed(words: Sequence[str]) -> str:
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} and {words[-1]}"
