"""TD3 in a single file, in the style of CleanRL, that learns from episode returns alone.

    pip install "latent-reward[sb3]"          # for PyTorch; nothing of Stable-Baselines3 is used
    python examples/cleanrl_td3.py --env-id Reacher-v5

Lines that end in ``# credit`` are all that LaRe adds. Without them, train on the rewards of the replay.
"""

import random
import time
from dataclasses import dataclass

import gymnasium as gym
import numpy as np
import torch
import tyro
from torch import nn, optim
from torch.nn import functional

import latent_reward as lr  # credit


@dataclass
class Args:
    """Settings of the run; each is an option of the command line."""

    env_id: str = "Reacher-v5"
    seed: int = 1
    total_timesteps: int = 20_000
    learning_rate: float = 3e-4
    buffer_size: int = 1_000_000
    gamma: float = 0.99
    tau: float = 0.005
    batch_size: int = 256
    policy_noise: float = 0.2
    exploration_noise: float = 0.1
    learning_starts: int = 1_000
    policy_frequency: int = 2
    noise_clip: float = 0.5


def network(inputs: int, outputs: int) -> nn.Sequential:
    """Two hidden layers of 256 units."""
    return nn.Sequential(
        nn.Linear(inputs, 256), nn.ReLU(), nn.Linear(256, 256), nn.ReLU(), nn.Linear(256, outputs)
    )


class QNetwork(nn.Module):
    """Q(o, a)."""

    def __init__(self, env: gym.Env):
        """Sizes come from the environment's spaces."""
        super().__init__()
        self.net = network(env.observation_space.shape[0] + env.action_space.shape[0], 1)

    def forward(self, x, a):
        """The value of each row."""
        return self.net(torch.cat([x, a], 1)).flatten()


class Actor(nn.Module):
    """A deterministic policy inside the range of actions."""

    def __init__(self, env: gym.Env):
        """Sizes and the range of actions come from the environment's spaces."""
        super().__init__()
        self.net = network(env.observation_space.shape[0], env.action_space.shape[0])
        low, high = torch.tensor(env.action_space.low), torch.tensor(env.action_space.high)
        self.register_buffer("scale", (high - low) / 2)
        self.register_buffer("bias", (high + low) / 2)

    def forward(self, x):
        """The action of each row."""
        return torch.tanh(self.net(x)) * self.scale + self.bias


class Replay:
    """Steps in NumPy arrays, the oldest overwritten first; it needs no rewards."""

    def __init__(self, size: int, env: gym.Env):
        """Sizes come from the environment's spaces."""
        observation, action = env.observation_space.shape[0], env.action_space.shape[0]
        widths = {"obs": observation, "actions": action, "next_obs": observation, "terminated": 1}
        self.arrays = {name: np.zeros((size, width), np.float32) for name, width in widths.items()}
        self.size, self.count = size, 0

    def add(self, **step):
        """Store one step."""
        for name, value in step.items():
            self.arrays[name][self.count % self.size] = value
        self.count += 1

    def sample(self, batch: int) -> dict[str, np.ndarray]:
        """Steps drawn at random."""
        rows = np.random.randint(0, min(self.count, self.size), batch)  # noqa: NPY002 - seeded as in CleanRL
        return {name: array[rows] for name, array in self.arrays.items()}


def evaluate(env: gym.Env, actor: Actor, episodes: int = 20) -> float:
    """Mean return of the deterministic policy."""
    total = 0.0
    for number in range(episodes):
        obs, over = env.reset(seed=10_000 + number)[0], False
        while not over:
            with torch.no_grad():
                action = actor(torch.tensor(obs, dtype=torch.float32)).numpy()
            obs, reward, terminated, truncated, _ = env.step(action)
            total, over = total + float(reward), terminated or truncated
    return total / episodes


def main(args: Args) -> float:
    """Train, print the return of each 20th episode, and return the mean of an evaluation."""
    random.seed(args.seed)
    np.random.seed(args.seed)  # noqa: NPY002 - as in CleanRL
    torch.manual_seed(args.seed)

    env = gym.make(args.env_id)
    env.action_space.seed(args.seed)
    actor, target_actor = Actor(env), Actor(env)
    critics, target_critics = ([QNetwork(env), QNetwork(env)] for _ in range(2))
    target_actor.load_state_dict(actor.state_dict())
    for critic, target in zip(critics, target_critics, strict=True):
        target.load_state_dict(critic.state_dict())
    q_optimizer = optim.Adam([each for critic in critics for each in critic.parameters()], args.learning_rate)
    actor_optimizer = optim.Adam(actor.parameters(), args.learning_rate)
    replay = Replay(args.buffer_size, env)
    credit = lr.Credit(args.env_id, seed=args.seed)  # credit
    start_time = time.time()

    obs, _ = env.reset(seed=args.seed)
    observations, actions, episodic_return = [obs], [], 0.0  # credit
    for global_step in range(args.total_timesteps):
        if global_step < args.learning_starts:
            action = env.action_space.sample()
        else:
            with torch.no_grad():
                action = actor(torch.tensor(obs, dtype=torch.float32))
                action += torch.normal(0, actor.scale * args.exploration_noise)
                action = action.numpy().clip(env.action_space.low, env.action_space.high)

        next_obs, reward, terminated, truncated, _ = env.step(action)
        replay.add(obs=obs, actions=action, next_obs=next_obs, terminated=terminated)
        observations.append(next_obs)  # credit
        actions.append(action)  # credit
        episodic_return += float(reward)
        obs = next_obs

        if terminated or truncated:
            seen, done = np.array(observations), np.array(actions)  # credit
            credit.add(lr.Episode(seen, done, episodic_return, terminated))  # credit
            credit.fit(len(done))  # credit
            if credit.episodes % 20 == 0:
                speed = int(global_step / (time.time() - start_time))
                print(f"global_step={global_step}, episodic_return={episodic_return:.2f}, SPS={speed}")
            obs, _ = env.reset()
            observations, actions, episodic_return = [obs], [], 0.0  # credit

        if global_step < args.learning_starts:
            continue
        if not credit.episodes:  # credit
            continue  # credit
        batch = replay.sample(args.batch_size)
        rewards = credit.reward(batch["obs"], batch["actions"], batch["next_obs"])  # credit
        data = {name: torch.tensor(array) for name, array in batch.items()}
        with torch.no_grad():
            noise = torch.randn_like(data["actions"]) * args.policy_noise
            noise = noise.clamp(-args.noise_clip, args.noise_clip) * target_actor.scale
            low, high = torch.tensor(env.action_space.low), torch.tensor(env.action_space.high)
            next_actions = (target_actor(data["next_obs"]) + noise).clamp(low, high)
            next_values = torch.min(*(critic(data["next_obs"], next_actions) for critic in target_critics))
            target = torch.tensor(rewards) + (1 - data["terminated"].flatten()) * args.gamma * next_values
        losses = [functional.mse_loss(critic(data["obs"], data["actions"]), target) for critic in critics]
        q_optimizer.zero_grad()
        sum(losses).backward()
        q_optimizer.step()

        if global_step % args.policy_frequency == 0:
            actor_loss = -critics[0](data["obs"], actor(data["obs"])).mean()
            actor_optimizer.zero_grad()
            actor_loss.backward()
            actor_optimizer.step()
            modules = [(actor, target_actor), *zip(critics, target_critics, strict=True)]
            for module, target_module in modules:
                for value, target_value in zip(module.parameters(), target_module.parameters(), strict=True):
                    target_value.data.lerp_(value.data, args.tau)

    mean = evaluate(env, actor)
    print(f"mean return of 20 episodes: {mean:.2f}; credit: {credit.quality}")  # credit
    env.close()
    return mean


if __name__ == "__main__":
    main(tyro.cli(Args))
