// The licences of what map_library.js holds, and where countries.json comes from.
import {readFileSync, readdirSync, writeFileSync} from 'node:fs';

const PARTS = ['ol', 'rbush', 'quickselect', 'proj4', 'wkt-parser', 'world-atlas'];

function licence(name) {
  const folder = `node_modules/${name}`;
  const {version, license} = JSON.parse(readFileSync(`${folder}/package.json`, 'utf8'));
  const file = readdirSync(folder).find((f) => /^licen[cs]e/i.test(f));
  const text = file ? readFileSync(`${folder}/${file}`, 'utf8').trim() : '';
  return `${name} ${version} (${license})\n${'-'.repeat(60)}\n${text}\n`;
}

const head = `map_library.js holds parts of the packages below. countries.json is made of world-atlas, whose
outlines are those of Natural Earth (public domain). Both are made by \`npm run build\` in ../parts.
`;
writeFileSync('../static/LICENCES.txt', [head, ...PARTS.map(licence)].join('\n'));
