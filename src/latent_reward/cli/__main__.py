"""``python -m latent_reward.cli`` is ``lare``."""

from latent_reward.cli import main

if __name__ == "__main__":
    main()
