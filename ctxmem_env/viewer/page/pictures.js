// The frame, its depth, and the strip of retrieved frames.

const WARM = [[0, 13, 16, 32], [0.3, 61, 40, 110], [0.55, 170, 60, 95], [0.8, 245, 150, 60], [1, 255, 240, 190]];

// A picture as large as a canvas, with smooth edges.
export function paint(canvas, bitmap) {
  const context = canvas.getContext("2d");
  context.imageSmoothingEnabled = true;
  context.imageSmoothingQuality = "high";
  context.drawImage(bitmap, 0, 0, canvas.width, canvas.height);
}

// Depth comes as grey, near bright; eyes tell colours better.
export function paintDepth(canvas, bitmap) {
  const context = canvas.getContext("2d", { willReadFrequently: true });
  paint(canvas, bitmap);
  const image = context.getImageData(0, 0, canvas.width, canvas.height);
  for (let i = 0; i < image.data.length; i += 4) image.data.set(PALETTE[image.data[i]], i);
  context.putImageData(image, 0, 0);
}

const PALETTE = Array.from({ length: 256 }, (_, grey) => {
  const at = grey / 255;
  const upper = Math.max(1, WARM.findIndex((stop) => stop[0] >= at));
  const [low, high] = [WARM[upper - 1], WARM[upper]];
  const share = (at - low[0]) / (high[0] - low[0]);
  return [1, 2, 3].map((i) => Math.round(low[i] + share * (high[i] - low[i])));
});

export class Strip {
  constructor(list) {
    this.list = list;
    this.tiles = [];
  }

  make(slots) {
    this.list.replaceChildren();
    this.tiles = Array.from({ length: slots }, () => {
      const tile = document.createElement("li");
      tile.innerHTML = '<canvas width="96" height="96"></canvas><div class="bar"><i></i></div><p><span></span><span class="note"></span></p>';
      this.list.append(tile);
      const [share, time] = tile.querySelectorAll("span");
      return { canvas: tile.querySelector("canvas"), bar: tile.querySelector("i"), share, time };
    });
  }

  show(times, overlap, bitmap) {
    this.tiles.forEach(({ canvas, bar, share, time }, i) => {
      const context = canvas.getContext("2d");
      context.imageSmoothingQuality = "high";
      if (i < times.length) {
        const side = bitmap.height;
        context.drawImage(bitmap, (i * bitmap.width) / times.length, 0, bitmap.width / times.length, side, 0, 0, canvas.width, canvas.height);
      } else {
        context.clearRect(0, 0, canvas.width, canvas.height);
      }
      bar.style.transform = `scaleX(${i < times.length ? overlap[i] : 0})`;
      share.textContent = i < times.length ? `${Math.round(100 * overlap[i])} %` : "–";
      time.textContent = i < times.length ? `#${times[i]}` : "";
    });
  }
}
