"use strict";
(() => {
  const pictures = JSON.parse(document.getElementById("pictures").textContent);
  const dark = window.matchMedia("(prefers-color-scheme: dark)");
  const drawn = new Map();

  function configFor(width) {
    const color = getComputedStyle(document.documentElement);
    const of = (name) => color.getPropertyValue(name).trim();
    const text = { labelColor: of("--text"), titleColor: of("--text") };
    const columns = width < 460 ? 1 : width < 760 ? 2 : undefined;
    return {
      background: of("--card"),
      font: "system-ui, sans-serif",
      view: { stroke: of("--line") },
      title: { color: of("--quiet") },
      axis: { ...text, gridColor: of("--line"), domainColor: of("--quiet"), tickColor: of("--quiet"), titleFontWeight: "normal" },
      legend: { ...text, columns, labelLimit: columns ? width / columns - 40 : 260, titleFontWeight: "normal", layout: { bottom: { direction: "vertical", anchor: "start" } } },
    };
  }

  async function draw(frame) {
    const { spec: shape, data, columns: names, rows } = pictures[frame.id];
    const values = rows.map((row) => Object.fromEntries(names.map((name, place) => [name, row[place]])));
    const spec = { ...structuredClone(shape), datasets: { [data]: values } };
    const width = frame.clientWidth;
    if (spec.title) spec.title.limit = width - 20;
    try {
      const result = await vegaEmbed(frame, spec, {
        mode: "vega-lite", renderer: "svg", actions: false, config: configFor(width), tooltip: { theme: dark.matches ? "dark" : "light" },
      });
      drawn.get(frame.id)?.finalize();
      drawn.set(frame.id, result);
      frame.dataset.drawn = dark.matches ? "dark" : "light";
    } catch (error) {
      frame.textContent = `This picture cannot be drawn (${error.message}); its table is below.`;
      throw error;
    }
  }

  const seen = new IntersectionObserver((entries) => {
    for (const entry of entries) {
      if (entry.isIntersecting) {
        seen.unobserve(entry.target);
        draw(entry.target);
      }
    }
  }, { rootMargin: "600px" });
  const frames = [...document.querySelectorAll(".picture")];
  frames.forEach((frame) => seen.observe(frame));
  const again = () => frames.filter((frame) => frame.dataset.drawn).forEach(draw);
  dark.addEventListener("change", again);
  let width = window.innerWidth;
  let waiting;
  window.addEventListener("resize", () => {
    clearTimeout(waiting);
    waiting = setTimeout(() => { if (window.innerWidth !== width) { width = window.innerWidth; again(); } }, 200);
  });
  window.addEventListener("beforeprint", () => frames.filter((frame) => !frame.dataset.drawn).forEach(draw));

  document.addEventListener("click", async (event) => {
    const button = event.target.closest("button[data-save]");
    if (!button) return;
    const frame = document.getElementById(button.dataset.of);
    if (!drawn.has(frame.id)) await draw(frame);
    const link = document.createElement("a");
    link.href = await drawn.get(frame.id).view.toImageURL(button.dataset.save, 2);
    link.download = `${frame.dataset.file}.${button.dataset.save}`;
    link.click();
  });
})();
