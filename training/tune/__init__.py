"""Learn what follows a trained model, and store it in its checkpoint."""
