// Runs the model on all recordings, and draws the probabilities of the chosen one.
import { Model } from "./activity.mjs";

const COLOURS = ["#4269d0", "#efb118", "#ff725c", "#3ca951"];

const element = (id) => document.getElementById(id);

function draw(answers) {
  const canvas = element("probabilities");
  const pen = canvas.getContext("2d");
  const x = (t) => (t / (answers.length - 1)) * canvas.width;
  const y = (probability) => (1 - probability) * (canvas.height - 20) + 10;
  pen.clearRect(0, 0, canvas.width, canvas.height);
  pen.lineWidth = 2;
  COLOURS.forEach((colour, index) => {
    pen.strokeStyle = colour;
    pen.beginPath();
    answers.forEach((answer, t) => pen.lineTo(x(t), y(answer[index])));
    pen.stroke();
  });
}

const largest = (answer) => answer.indexOf(Math.max(...answer));

async function main() {
  const [model, data] = await Promise.all([
    Model.load("activity.wasm"),
    fetch("recordings.json").then((response) => response.json()),
  ]);
  const stream = model.stream();
  const begin = performance.now();
  const answers = data.recordings.map((samples) => {
    stream.reset();
    return samples.map((sample) => stream.step(sample));
  });
  const microseconds = (1000 * (performance.now() - begin)) / answers.flat().length;

  const right = answers.filter((answer, index) => largest(answer.at(-1)) === data.labels[index]).length;
  element("summary").textContent =
    `${right} of ${answers.length} recordings told right; ${microseconds.toFixed(1)} µs a timestep.`;
  data.classes.forEach((name, index) => {
    const label = Object.assign(document.createElement("span"), { className: "class", textContent: name });
    label.style.color = COLOURS[index];
    element("legend").append(label);
  });
  const choice = element("recording");
  data.labels.forEach((label, index) => choice.add(new Option(`${index + 1}: ${data.classes[label]}`, index)));
  choice.value = String(data.labels.indexOf(2));
  choice.onchange = () => draw(answers[choice.value]);
  choice.onchange();
  element("answers").textContent = JSON.stringify(answers.map((answer) => [...answer.at(-1)]));
}

main().catch((error) => {
  element("summary").textContent = String(error);
});
