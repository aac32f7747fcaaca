// Draws [data-map] from the JSON beside it with Cytoscape.js: places come from the server, so nothing has to settle.
(() => {
  "use strict";
  const css = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
  const WIDEST = 8;

  function style() {
    const text = css("--tblr-body-color");
    const surface = css("--tblr-bg-surface");
    const line = css("--sg-muted");
    return [
      {
        selector: "node",
        style: {
          label: "data(label)", shape: "round-rectangle", width: 132, height: 34, "font-size": 12,
          "font-family": getComputedStyle(document.body).fontFamily, color: text, "text-valign": "center",
          "text-max-width": 122, "text-wrap": "ellipsis", "background-color": surface,
          "border-width": 1.5, "border-color": css("--sg-control-border"),
        },
      },
      { selector: "node[sort = 'outside']", style: { shape: "ellipse", "background-color": css("--sg-warn-soft"), "border-color": css("--sg-warn") } },
      { selector: "node[sort = 'own']", style: { shape: "cut-rectangle", "background-color": css("--sg-muted-soft") } },
      { selector: "node[sort = 'others']", style: { "border-style": "dashed", "background-color": css("--sg-muted-soft") } },
      { selector: "node[sort = 'workload']", style: { "background-color": css("--sg-accent-soft"), "border-color": css("--sg-accent") } },
      {
        selector: "edge",
        style: {
          width: "data(width)", "line-color": line, "target-arrow-color": line, "target-arrow-shape": "triangle",
          "curve-style": "bezier", "arrow-scale": 0.9, opacity: 0.75, "loop-direction": "-45deg", "loop-sweep": "30deg",
        },
      },
      { selector: "edge[state = 'denied']", style: { "line-style": "dashed", "line-color": css("--sg-bad"), "target-arrow-color": css("--sg-bad"), opacity: 1 } },
      { selector: "edge[state = 'new']", style: { "line-color": css("--sg-accent"), "target-arrow-color": css("--sg-accent"), opacity: 1 } },
      { selector: "edge[state = 'anomalous']", style: { "line-style": "dotted", "line-color": css("--sg-high"), "target-arrow-color": css("--sg-high"), opacity: 1 } },
      { selector: ".quiet", style: { opacity: 0.12 } },
    ];
  }

  function elements(data) {
    const nodes = data.nodes.map((n) => ({ data: { ...n, x: undefined, y: undefined }, position: { x: n.x, y: n.y } }));
    const links = data.links.map((l, i) => ({
      data: { ...l, id: `link-${i}`, width: Math.min(WIDEST, 1 + Math.log10(1 + l.flows)) },
    }));
    return [...nodes, ...links];
  }

  function draw(place) {
    const source = document.getElementById(place.dataset.map);
    if (!source || typeof cytoscape === "undefined") return;
    const data = JSON.parse(source.textContent);
    const many = data.links.length > 600;
    const map = cytoscape({
      container: place, elements: elements(data), style: style(), layout: { name: "preset", fit: true, padding: 24 },
      minZoom: 0.05, maxZoom: 3, wheelSensitivity: 0.3, boxSelectionEnabled: false, autoungrabify: true,
      hideEdgesOnViewport: many, textureOnViewport: many, pixelRatio: many ? 1 : "auto",
    });
    map.on("tap", "node, edge", (event) => {
      const url = event.target.data("url");
      if (url) window.location.assign(url);
    });
    map.on("mouseover", "node", (event) => {
      const near = event.target.closedNeighborhood();
      map.batch(() => map.elements().not(near).addClass("quiet"));
      place.style.cursor = event.target.data("url") ? "pointer" : "";
    });
    map.on("mouseout", "node", () => {
      map.batch(() => map.elements().removeClass("quiet"));
      place.style.cursor = "";
    });
    document.addEventListener("secguard:theme", () => map.style(style()));
    for (const button of document.querySelectorAll("[data-map-zoom]")) {
      button.addEventListener("click", () => {
        const middle = { x: place.clientWidth / 2, y: place.clientHeight / 2 };
        map.zoom({ level: map.zoom() * Number(button.dataset.mapZoom), renderedPosition: middle });
      });
    }
    document.querySelector("[data-map-fit]")?.addEventListener("click", () => map.fit(undefined, 24));
    new ResizeObserver(() => map.resize()).observe(place);
    place.dataset.drawn = String(data.nodes.length);
  }

  const all = () => document.querySelectorAll("[data-map]").forEach(draw);
  if (document.readyState === "loading") document.addEventListener("DOMContentLoaded", all);
  else all();
})();
