"""Credit for anybody's trainer and anybody's data: NumPy in, NumPy out."""
