"""Operations on the model repository: adding, removing, quantizing models and choosing their engine."""
