"""What a model is trained to do: parameters, loss and predictions of one training objective."""
