"""Guests of the training loop: they look at frozen features or embeddings, and return numbers.

* `linear_probe`: one affine layer on frozen features, its L2 chosen on validation subjects.
* `features`: what a plain pipeline measures from the same clips, as the baseline of a probe.
* `retrieval`: does a clip's vector in one modality find the same clip in the others.

None imports a model: each takes numpy arrays, so that any encoder, or none, can be scored.
"""
