// Colour-blind safe palettes (Okabe and Ito; single-hue and two-hue ramps of rising lightness), for light and dark pages.
const GREY = {light: '#7c8794', dark: '#8b96a3'};
const PALETTES = {
  light: {
    region: ['#0072b2', '#e69f00', '#8e2157', '#7c8794'], // those of map.png
    named: ['#0072b2', '#e69f00', '#009e73', '#cc79a7', '#56b4e9', '#d55e00', '#6b4fa0'],
    flag: ['#8aa0b4', '#d55e00'],
    sequential: ['#a9cde8', '#84b8de', '#5c9fcf', '#3a83bd', '#2068a5', '#104c85', '#082f68'],
    negative: ['#9a3400', '#cf6511', '#eda562'], positive: ['#93bfe3', '#5698cd', '#246fae', '#0a4780'],
  },
  dark: {
    region: ['#4aa8e8', '#f0ac2e', '#d1659b', '#8b96a3'],
    named: ['#4aa8e8', '#f0ac2e', '#2fc79b', '#e58cc0', '#9bd6f7', '#f5803a', '#b49ae6'],
    flag: ['#566b80', '#ff8a3d'],
    sequential: ['#23507a', '#2f6a9d', '#4085bd', '#5aa0d6', '#80bbe6', '#a9d4f2', '#d6ecfb'],
    negative: ['#ffd0a0', '#f5a050', '#c96a1a'], positive: ['#2f6fa8', '#4f95d0', '#86bfea', '#c4e2f9'],
  },
};

function isDark() { return document.body.classList.contains('dark'); }

function coloursOf(channel) {
  const theme = isDark() ? 'dark' : 'light', palette = PALETTES[theme], n = channel.labels.length;
  let colours;
  if (channel.kind === 'diverging') {
    const below = channel.zero, above = n - 1 - below;
    const spread = (list, count) => Array.from({length: count}, (_, i) => list[count > 1 ? Math.round(i * (list.length - 1) / (count - 1)) : 1]);
    colours = [...spread(palette.negative, below), ...spread(palette.positive, above)];
  } else if (channel.kind === 'sequential') {
    const list = palette.sequential, count = n - 1;
    colours = Array.from({length: count}, (_, i) => list[count > 1 ? Math.round(i * (list.length - 1) / (count - 1)) : 3]);
  } else if (channel.kind === 'named') {
    colours = [...palette.named.slice(0, n - 2), '#9aa3ad'];
  } else colours = palette[channel.kind].slice(0, n);
  while (colours.length < n) colours.push(GREY[theme]);
  return colours;
}
