// Draws [data-map] from the JSON beside it with Cytoscape.js: places come from the server, so nothing has to settle.
(() => {
  "use strict";
  const css = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
  const WIDEST = 8;

  function style(many) {
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
      {
        selector: "node[sort = 'cluster']",
        style: {
          "background-color": css("--sg-subtle"), "background-opacity": 0.5, "border-color": css("--tblr-border-color"),
          "text-valign": "top", "text-margin-y": -4, "font-size": 14, "text-max-width": 400, padding: 22, color: css("--tblr-secondary"),
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
          "curve-style": many ? "straight" : "bezier", "arrow-scale": 0.9, opacity: 0.75, "loop-direction": "-45deg", "loop-sweep": "30deg",
        },
      },
      { selector: "edge[state = 'denied']", style: { "line-style": "dashed", "line-color": css("--sg-bad"), "target-arrow-color": css("--sg-bad"), opacity: 1 } },
      { selector: "edge[state = 'new']", style: { "line-color": css("--sg-accent"), "target-arrow-color": css("--sg-accent"), opacity: 1 } },
      { selector: "edge[state = 'anomalous']", style: { "line-style": "dotted", "line-color": css("--sg-high"), "target-arrow-color": css("--sg-high"), opacity: 1 } },
      { selector: ".quiet", style: { opacity: 0.12 } },
    ];
  }

  function elements(data) {
    // The whole map shows each cluster as a box; the workloads of one namespace need none.
    const boxed = data.nodes.every((n) => n.sort !== "workload");
    const clusters = boxed ? [...new Set(data.nodes.map((n) => n.cluster).filter(Boolean))] : [];
    const boxes = clusters.map((name) => ({ data: { id: `cluster ${name}`, label: name, sort: "cluster" } }));
    const nodes = data.nodes.map((n) => ({
      data: { id: n.id, label: n.label, sort: n.sort, url: n.url, parent: boxed && n.cluster ? `cluster ${n.cluster}` : undefined },
      position: { x: n.x, y: n.y },
    }));
    const links = data.links.map((l, i) => ({
      data: { id: `link ${i}`, source: l.source, target: l.destination, state: l.state, url: l.url, width: Math.min(WIDEST, 1 + Math.log10(1 + l.flows)) },
    }));
    return [...boxes, ...nodes, ...links];
  }

  function draw(place) {
    const source = document.getElementById(place.dataset.map);
    if (!source || typeof cytoscape === "undefined") return;
    const data = JSON.parse(source.textContent);
    const many = data.links.length > 400;
    const map = cytoscape({
      container: place, elements: elements(data), style: style(many), layout: { name: "preset", fit: true, padding: 24 },
      minZoom: 0.05, maxZoom: 3, boxSelectionEnabled: false, autoungrabify: true,
      hideEdgesOnViewport: many, textureOnViewport: many, pixelRatio: many ? 1 : "auto",
    });
    map.on("tap", "node, edge", (event) => {
      const url = event.target.data("url");
      if (url) window.location.assign(url);
    });
    map.on("mouseover", "node[sort != 'cluster']", (event) => {
      const near = event.target.closedNeighborhood();
      map.batch(() => map.elements("[sort != 'cluster']").not(near).addClass("quiet"));
      place.style.cursor = event.target.data("url") ? "pointer" : "";
    });
    map.on("mouseout", "node", () => {
      map.batch(() => map.elements().removeClass("quiet"));
      place.style.cursor = "";
    });
    document.addEventListener("secguard:theme", () => map.style(style(many)));
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
