"""What render shows: the network as the dashboard draws it, then queues, limits in
force, the player's buffer and quality and the reward over time; CartPole as a cart.
Drawn on this side from infos and observations, with pygame, as Gymnasium draws its
own; where the network's boxes are, and its colours, is in _picture.
"""

from __future__ import annotations

from collections import deque
from typing import Any, NamedTuple

import numpy as np

from . import _picture as drawing

WIDTH, HEIGHT = 640, 400
SHOWN = 150  # steps that a frame shows

Color = tuple[int, int, int]
INK: Color = (32, 33, 36)
FAINT: Color = (218, 220, 224)
PAPER: Color = (255, 255, 255)
STALL: Color = (255, 205, 210)
SERIES: tuple[Color, ...] = ((31, 119, 180), (214, 98, 14), (44, 140, 60), (140, 86, 180))


class Sample(NamedTuple):
    """One step as drawn."""

    reward: float
    obs: np.ndarray  # f32 [D]
    info: dict[str, float]


class Painter:
    """Draws one environment. begun says whether there is something to draw."""

    def __init__(self, made: dict[str, Any], scenario: str) -> None:
        elements = made.get("observation_space", {}).get("elements") or []
        self.scenario = scenario
        self.names = [str(e.get("name", i)) for i, e in enumerate(elements)]
        self.limits = [int(v) for v in made.get("limits") or []]
        self.seconds = float(made.get("step_seconds") or 0)
        self.max_steps = int(made.get("max_steps") or 0)
        self.units = {str(f["name"]): str(f.get("unit", "")) for f in made.get("info_fields") or []}
        self.queues = [n for n in self.units if n.startswith("enq_qdepth")]
        self.in_force = [n for n in self.units if n.startswith("limit")]
        self.cart = {"cart_position", "pole_angle"} <= set(self.names)
        self.past: deque[Sample] = deque(maxlen=SHOWN)
        self.begun = False
        self._canvas: Any = None
        self._window: Any = None
        self._clock: Any = None
        self._fonts: dict[int, Any] = {}
        self._words: dict[tuple[str, int, Color], Any] = {}

    # --- what happened

    def reset(self, obs: np.ndarray, info: dict[str, Any]) -> None:
        """An episode begins."""
        self.past.clear()
        self.steps, self.total, self.action = 0, 0.0, ""
        self.past.append(Sample(0.0, obs.copy(), dict(info)))
        self.begun = True

    def step(self, action: Any, reward: float, obs: np.ndarray, info: dict[str, Any]) -> None:
        """A step was made."""
        if not self.begun:
            return
        self.steps += 1
        self.total += reward
        self.action = ", ".join(str(int(v)) for v in np.ravel(action))
        self.past.append(Sample(float(reward), obs.copy(), dict(info)))

    # --- as text

    def text(self) -> str:
        """The last step, a line for each thing."""
        now = self.past[-1]
        lines = [self.title()]
        if self.queues:
            depths = "  ".join(f"{q}: {now.info[q]:.1f}" for q in self.queues)
            limits = "  ".join(f"{k}: {now.info[k]:.0f}" for k in self.in_force)
            lines.append(f"queues (packets)  {depths}   {limits}")
            lines.append(f"player  {self.player(now)}")
        else:
            pairs = zip(self.names or map(str, range(len(now.obs))), now.obs, strict=False)
            lines.append("  ".join(f"{n}: {v:.4g}" for n, v in pairs))
        lines.append(f"action {self.action or '-'}  reward {now.reward:+.3f}")
        return "\n".join(lines)

    def title(self) -> str:
        of = f"/{self.max_steps}" if self.max_steps else ""
        when = f" ({self.steps * self.seconds:.4g} s)" if self.seconds else ""
        return f"{self.scenario}  step {self.steps}{of}{when}  return {self.total:.2f}"

    def player(self, now: Sample) -> str:
        i = now.info
        parts = []
        if "lbo_s" in i:
            parts.append(f"buffer {i['lbo_s']:.1f} s")
        if "rep_kbps" in i:
            parts.append(f"quality {i['rep_kbps']:.0f} kbit/s")
        if "fps" in i:
            parts.append(f"{i['fps']:.0f} frames/s")
        if "stall_s" in i:
            parts.append(f"stalled {i['stall_s']:.1f} s")
        return "  ".join(parts)

    # --- as a picture

    def frame(self) -> np.ndarray:
        """The picture, u8 [HEIGHT,WIDTH,3]."""
        pygame = _pygame()
        self._draw(pygame)
        # surfarray has its axes the other way round, and turning them takes twice as long.
        pixels = bytearray(pygame.image.tobytes(self._canvas, "RGB"))
        return np.frombuffer(pixels, np.uint8).reshape(HEIGHT, WIDTH, 3)

    def show(self, fps: float) -> None:
        """Draw into a window, no faster than fps."""
        pygame = _pygame()
        if self._window is None:
            pygame.display.init()
            pygame.display.set_caption(f"planegym: {self.scenario}")
            self._window = pygame.display.set_mode((WIDTH, HEIGHT))
            self._clock = pygame.time.Clock()
        self._draw(pygame)
        self._window.blit(self._canvas, (0, 0))
        pygame.event.pump()
        pygame.display.update()
        self._clock.tick(fps)

    def close(self) -> None:
        """Close the window."""
        if self._window is not None:
            import pygame

            pygame.display.quit()
            self._window = None

    def _draw(self, pygame: Any) -> None:
        if self._canvas is None:
            pygame.font.init()
            self._canvas = pygame.Surface((WIDTH, HEIGHT))
        self._canvas.fill(PAPER)
        self._write(pygame, self.title(), (12, 8), 18)
        if self.queues:
            self._draw_queues(pygame)
        elif self.cart:
            self._draw_cart(pygame)
        else:
            self._draw_elements(pygame)

    def _draw_queues(self, pygame: Any) -> None:
        now = self.past[-1]
        top = 0.0
        for s in self.past:
            top = max(top, *(s.info[k] for k in (*self.queues, *self.in_force)))
        self._draw_network(pygame, now, top)
        area = (12, 162, WIDTH - 24, 84)
        self._panel(pygame, area, f"queues and limits, 0 to {top:.0f} packets", None)
        shared = len(self.in_force) == 1
        for i, name in enumerate(self.in_force):
            self._line(pygame, area, name, 0, top, INK if shared else SERIES[i % 4], 1, steps=True)
        at = 228
        for i, name in enumerate(self.queues):
            self._line(pygame, area, name, 0, top, SERIES[i % 4], 2)
            limit = self.in_force[0 if shared else i] if self.in_force else None
            text = f"switch {i + 1}: {now.info[name]:.0f}"
            text += f" of {now.info[limit]:.0f}" if limit else ""
            self._write(pygame, text, (at, 164), 14, SERIES[i % 4])
            at += 136
        half = (WIDTH - 32) // 2
        left, right = (12, 252, half, 64), (20 + half, 252, half, 64)
        for area, name, words in (
            (left, "lbo_s", f"buffer {now.info.get('lbo_s', 0):.1f} s"),
            (right, "rep_kbps", f"quality {now.info.get('rep_kbps', 0):.0f} kbit/s"),
        ):
            if name not in self.units:
                continue
            top = max(1.0, *(s.info[name] for s in self.past))
            self._panel(pygame, area, words, top, stalls="stall_s" in self.units)
            self._line(pygame, area, name, 0, top, SERIES[0], 2, steps=name != "lbo_s")
        self._draw_rewards(pygame, (12, 322, WIDTH - 24, 70), now)

    def _draw_network(self, pygame: Any, now: Sample, top: float) -> None:
        """Sources, switches with their queues against the limits, the player."""
        d, n = drawing, len(self.queues)
        player = d.SWITCH_X + n * d.SWITCH_STEP
        k = WIDTH / (player + d.PLAYER_WIDTH + d.MARGIN)
        flat = min(k, 126 / d.BOX_HEIGHT)  # one height whatever the number of switches

        def place(x: float, y: float, w: float, h: float) -> tuple[int, int, int, int]:
            top = 30 + (y - d.BOX_TOP) * flat
            return round(x * k), round(top), max(1, round(w * k)), max(1, round(h * flat))

        def box(x: float, w: float, title: str) -> None:
            area = place(x, d.BOX_TOP, w, d.BOX_HEIGHT)
            pygame.draw.rect(self._canvas, d.WIRE, area, 1, border_radius=5)
            self._write(pygame, title, (area[0] + 5, area[1] + 4), 12, d.TEXT)

        def wire(x: float) -> None:
            a = place(x, d.BOX_TOP + d.BOX_HEIGHT / 2, d.SWITCH_STEP - d.SWITCH_WIDTH, 0)
            end = a[0] + a[2] - 2, a[1]
            pygame.draw.line(self._canvas, d.WIRE, (a[0], a[1]), end, 2)
            for up in (-4, 4):
                pygame.draw.line(self._canvas, d.WIRE, (end[0] - 5, end[1] + up), end, 2)

        box(d.MARGIN, d.SOURCE_WIDTH, "sources")
        wire(d.MARGIN + d.SOURCE_WIDTH)
        for i, name in enumerate(self.queues):
            x = d.SWITCH_X + i * d.SWITCH_STEP
            box(x, d.SWITCH_WIDTH, f"switch {i + 1}")
            wire(x + d.SWITCH_WIDTH)
            bar = place(x + d.BAR_X, d.BAR_TOP, d.BAR_WIDTH, d.BAR_HEIGHT)
            pygame.draw.rect(self._canvas, FAINT, bar)
            tall = round(bar[3] * min(1.0, max(0.0, now.info[name] / max(top, 1.0))))
            if tall:
                low = bar[1] + bar[3] - tall
                pygame.draw.rect(self._canvas, d.FILL, (bar[0], low, bar[2], tall))
            if self.in_force:
                key = self.in_force[min(i, len(self.in_force) - 1)]
                limit = now.info[key]
                y = round(bar[1] + bar[3] * (1 - min(1.0, limit / max(top, 1.0))))
                ends = (bar[0] - 4, y), (bar[0] + bar[2] + 4, y)
                pygame.draw.line(self._canvas, d.LIMIT, *ends, 2)
                at = bar[0] + bar[2] + 6, max(y - 5, bar[1] - 2)
                self._write(pygame, f"{limit:.0f}", at, 12, d.LIMIT)
            foot = place(x, d.BOX_TOP + d.BOX_HEIGHT, 0, 0)
            text = f"{now.info[name]:.0f} packets"
            self._write(pygame, text, (foot[0] + 5, foot[1] - 17), 12, d.DIM)
        box(player, d.PLAYER_WIDTH, "player")
        if "lbo_s" in now.info:
            area = place(player + 16, 84, d.PLAYER_WIDTH - 32, 26)
            pygame.draw.rect(self._canvas, FAINT, area)
            most = max(d.BUFFER_SECONDS, *(s.info["lbo_s"] for s in self.past))
            full = round(area[2] * min(1.0, max(0.0, now.info["lbo_s"] / most)))
            if full:
                pygame.draw.rect(self._canvas, d.BUFFER, (area[0], area[1], full, area[3]))
            mark = area[0] + round(area[2] * d.TARGET_SECONDS / most)
            ends = (mark, area[1] - 4), (mark, area[1] + area[3] + 4)
            pygame.draw.line(self._canvas, d.LIMIT, *ends, 2)
            for line, text in enumerate(self.player(now).split("  ")):
                at = area[0], area[1] + area[3] + 5 + 13 * line
                self._write(pygame, text, at, 12, d.DIM)

    def _draw_rewards(self, pygame: Any, area: tuple[int, int, int, int], now: Sample) -> None:
        rewards = [s.reward for s in self.past]
        span = max(1e-6, *(abs(r) for r in rewards))
        words = f"reward {now.reward:+.2f}, action {self.action or '-'}"
        self._panel(pygame, area, words, span)
        x, y, w, h = area
        y, h = y + 18, h - 18
        middle = y + h // 2
        pygame.draw.line(self._canvas, FAINT, (x, middle), (x + w - 1, middle))
        wide = w / SHOWN
        for k, r in enumerate(rewards[1:], 1):
            tall = round(abs(r) / span * (h / 2 - 2))
            box = (x + k * wide, middle - tall if r > 0 else middle, max(1, wide - 1), tall)
            pygame.draw.rect(self._canvas, SERIES[2] if r > 0 else SERIES[1], box)

    def _draw_cart(self, pygame: Any) -> None:
        now = self.past[-1]
        obs = dict(zip(self.names, now.obs, strict=True))
        ground = 300
        pygame.draw.line(self._canvas, INK, (0, ground), (WIDTH, ground))
        x = WIDTH / 2 + float(obs["cart_position"]) / 2.4 * (WIDTH / 2 - 40)
        pygame.draw.rect(self._canvas, INK, (x - 30, ground - 30, 60, 30))
        angle = float(obs["pole_angle"])
        end = (x + 150 * np.sin(angle), ground - 30 - 150 * np.cos(angle))
        pygame.draw.line(self._canvas, SERIES[1], (x, ground - 30), end, 8)
        self._write(pygame, f"action {self.action or '-'}, reward {now.reward:+.2f}", (12, 372), 14)

    def _draw_elements(self, pygame: Any) -> None:
        """A line for each element of the observation, at most twelve."""
        n = min(12, len(self.past[-1].obs))
        tall = (HEIGHT - 130) // max(1, (n + 1) // 2)
        for i in range(n):
            x, y = 12 + i % 2 * (WIDTH // 2 - 6), 36 + i // 2 * tall
            area = (x, y, WIDTH // 2 - 18, tall - 8)
            values = [float(s.obs[i]) for s in self.past]
            low, top = min(values), max(values)
            name = self.names[i] if i < len(self.names) else f"obs[{i}]"
            self._panel(pygame, area, f"{name} {values[-1]:.4g}", None)
            self._plot(pygame, area, values, low, top, SERIES[0], 2, False)
        self._draw_rewards(pygame, (12, HEIGHT - 90, WIDTH - 24, 78), self.past[-1])

    # --- parts of pictures

    def _panel(
        self,
        pygame: Any,
        area: tuple[int, int, int, int],
        words: str,
        top: float | None,
        stalls: bool = False,
    ) -> None:
        x, y, w, h = area
        if stalls:
            wide = w / SHOWN
            for k, s in enumerate(self.past):
                if s.info["stall_s"] > 0:
                    pygame.draw.rect(self._canvas, STALL, (x + k * wide, y, wide + 1, h))
        pygame.draw.rect(self._canvas, FAINT, area, 1)
        if top is not None:
            words += f" (to {top:.4g})"
        self._write(pygame, words, (x + 4, y + 2), 14)

    def _line(
        self,
        pygame: Any,
        area: tuple[int, int, int, int],
        name: str,
        low: float,
        top: float,
        color: Color,
        width: int,
        steps: bool = False,
    ) -> None:
        values = [s.info[name] for s in self.past]
        self._plot(pygame, area, values, low, top, color, width, steps)

    def _plot(
        self,
        pygame: Any,
        area: tuple[int, int, int, int],
        values: list[float],
        low: float,
        top: float,
        color: Color,
        width: int,
        steps: bool,
    ) -> None:
        x, y, w, h = area
        v = np.nan_to_num(np.asarray(values, np.float64), posinf=top, neginf=low)
        heights = y + h - 2 - (v - low) / max(top - low, 1e-9) * (h - 22)
        across = x + np.arange(len(v)) * (w / SHOWN)
        if steps:
            across, heights = np.repeat(across, 2)[1:], np.repeat(heights, 2)[:-1]
        if len(across) > 1:
            points = np.column_stack((across, heights)).tolist()
            pygame.draw.lines(self._canvas, color, False, points, width)

    def _write(
        self, pygame: Any, text: str, at: tuple[int, int], size: int, color: Color = INK
    ) -> None:
        key = text, size, color
        drawn = self._words.get(key)
        if drawn is None:
            if len(self._words) > 256:
                self._words.clear()
            font = self._fonts.get(size)
            if font is None:
                font = self._fonts[size] = pygame.font.Font(None, size + 4)
            drawn = self._words[key] = font.render(text, True, color)
        self._canvas.blit(drawn, at)

    def __getstate__(self) -> dict[str, Any]:
        state = self.__dict__.copy()
        state.update(_canvas=None, _window=None, _clock=None, _fonts={}, _words={})
        return state


def _pygame() -> Any:
    try:
        import pygame
    except ImportError as e:
        from gymnasium.error import DependencyNotInstalled

        raise DependencyNotInstalled(
            "render_mode draws with pygame: pip install pygame (it is planegym's extra `render`)"
        ) from e
    return pygame
