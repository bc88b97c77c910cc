"""Losses of return decomposition on ``[episode, time, agent]`` proxy rewards.

All are normalised by the episode length L, so that the target is the mean reward R/L and one learning
rate serves tasks of any horizon. Steps where ``mask`` is false never change a value or a gradient.
"""

import jax.numpy as jnp

from latent_reward.types import EpisodeMask, EpisodeRewards, Lengths, Returns, Scalar


def full_sum_loss(proxy: EpisodeRewards, mask: EpisodeMask, returns: Returns) -> Scalar:
    """RD, the least-squares decomposition: mean_b (R_b/L_b − Σ_t Σ_i r̂_bti / L_b)².

    Efroni et al. 2021, arXiv 2008.06738; the sum runs over all steps t and agents i of a team.
    """
    length = mask.sum(axis=1)
    total = jnp.where(mask[:, :, None], proxy, 0.0).sum(axis=(1, 2))
    return jnp.mean(((total - returns) / length) ** 2)


def subset_loss(
    proxy: EpisodeRewards, mask: EpisodeMask, returns: Returns, lengths: Lengths, *, unbiased: bool
) -> Scalar:
    """RRD on a random subset I of each episode: mean_b (m_b − R_b/L_b)², m = mean_{t∈I} Σ_i r̂_ti.

    The expectation over I exceeds the RD loss by the variance of m. With ``unbiased`` its estimate
    (1 − K/L)·S²/K is subtracted, S² the sample variance over I (finite-population correction), so that
    gradients are those of RD in expectation. An episode with L ≤ K is seen whole: the correction is
    then zero and the loss is RD exactly. One draw has no sample variance, so K = 1 < L stays biased.
    Ren et al. 2022, arXiv 2111.13485, equations 6 and 11.

    Args:
        proxy: r̂ at the drawn steps, ``[episode, K, agent]``.
        mask: which of the K draws are real (false beyond the length of a short episode).
        returns: R of each episode.
        lengths: L of each episode, not of the subset.
        unbiased: whether to subtract the variance of the subset mean.
    """
    count = mask.sum(axis=1)
    team = jnp.where(mask, proxy.sum(axis=2), 0.0)
    mean = team.sum(axis=1) / count
    loss = (mean - returns / lengths) ** 2
    if unbiased:
        deviation = jnp.where(mask, team - mean[:, None], 0.0)
        variance = (deviation**2).sum(axis=1) / jnp.maximum(count - 1, 1)
        loss = loss - (1.0 - count / lengths) * variance / count
    return loss.mean()
