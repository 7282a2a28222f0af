/** Where the page begins. */
import { render } from 'preact';
import { App } from './app.tsx';
import { readBoot } from './embedded.ts';
import 'uplot/dist/uPlot.min.css';
import './style.css';

render(<App boot={readBoot()} />, document.getElementById('app')!);
