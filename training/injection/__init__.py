"""How the weights of the injection detector are trained."""
