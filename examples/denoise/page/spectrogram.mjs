// Spectrograms of recordings, all in the same colours, as those of pictures.py.
import { RealFourier } from "./fourier.mjs";

const WINDOW = 256;
const LEAST_HOP = 128;
const MOST_COLUMNS = 1200;
const RANGE = 70; // dB below the loudest point of all
// Some of the colours of Matplotlib's magma, evenly spaced.
const COLOURS = [[0, 0, 4], [40, 17, 89], [114, 31, 129], [183, 55, 121], [241, 96, 93], [254, 176, 120], [252, 253, 191]];

const HANN = Float32Array.from({ length: WINDOW }, (_, i) => 0.5 - 0.5 * Math.cos((2 * Math.PI * i) / (WINDOW - 1)));

// Return the power of each bin, column after column.
function powers(samples) {
  const hop = Math.max(LEAST_HOP, Math.ceil(samples.length / MOST_COLUMNS));
  const fourier = new RealFourier(WINDOW);
  const columns = [];
  for (let start = 0; start < samples.length; start += hop) {
    const spectrum = fourier.forward(HANN.map((weight, i) => weight * (samples[start + i] ?? 0)));
    columns.push(Float32Array.from({ length: WINDOW / 2 + 1 }, (_, k) => spectrum[2 * k] ** 2 + spectrum[2 * k + 1] ** 2));
  }
  return columns;
}

function colour(share) {
  const place = Math.max(0, Math.min(1, share)) * (COLOURS.length - 1);
  const [lower, between] = [Math.min(Math.floor(place), COLOURS.length - 2), place % 1];
  const part = place === COLOURS.length - 1 ? 1 : between;
  return COLOURS[lower].map((from, i) => from + part * (COLOURS[lower + 1][i] - from));
}

// Draw each recording on its canvas: time from left to right, frequencies from below.
export function draw(recordings) {
  const drawn = recordings.map(({ canvas, samples }) => ({ canvas, columns: powers(samples) }));
  const loudest = Math.max(...drawn.map(({ columns }) => columns.reduce((m, column) => Math.max(m, ...column), 1e-12)));
  for (const { canvas, columns } of drawn) {
    const rows = WINDOW / 2 + 1;
    [canvas.width, canvas.height] = [Math.max(1, columns.length), rows];
    const pen = canvas.getContext("2d");
    const image = pen.createImageData(canvas.width, rows);
    columns.forEach((column, x) =>
      column.forEach((power, bin) => {
        const decibels = 10 * Math.log10(Math.max(power / loudest, 1e-12));
        image.data.set([...colour(1 + decibels / RANGE), 255], 4 * ((rows - 1 - bin) * canvas.width + x));
      }),
    );
    pen.putImageData(image, 0, 0);
  }
}
