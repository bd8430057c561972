// Keeps the view still while rows come and go. Right before React changes the page the places of the rows on screen
// are measured; right after, before anything is painted, the scroll position is corrected by what the first of them
// that still exists has moved. At the end, the end is kept instead. Changes of size without React (a wider window, a
// taller message field) come through a ResizeObserver, which too runs before the paint.
//
// The lower edge of a row is its place: a row that stops being the first of its group loses its head above it. Day
// lines are no anchors: they move to another row when an earlier one of their day comes.

import { Component, type ReactNode, type RefObject } from 'react';
import { END_SLACK } from '../logic/limits';

interface Place {
  readonly key: string;
  /** Distance of the row's lower edge from the scroller's upper edge, in pixels. */
  readonly bottom: number;
}

interface Props {
  /** The element whose children are the rows; its parent scrolls. */
  readonly list: RefObject<HTMLElement | null>;
  readonly children: ReactNode;
}

export class Keeper extends Component<Props> {
  /** True while the reader is at the end. */
  atEnd = true;
  #places: readonly Place[] = [];
  /** Scroll position that is accounted for. Another one means that somebody scrolled and the event is yet to come. */
  #top = 0;
  #observer: ResizeObserver | null = null;

  override componentDidMount(): void {
    this.#observer = new ResizeObserver(() => {
      this.#heed();
      this.restore();
    });
    const { list } = this.props;
    const scroller = this.#scroller();
    if (scroller !== null) this.#observer.observe(scroller);
    if (list.current !== null) this.#observer.observe(list.current);
    this.restore();
  }

  override componentWillUnmount(): void {
    this.#observer?.disconnect();
  }

  override getSnapshotBeforeUpdate(): null {
    this.#heed();
    this.remember();
    return null;
  }

  override componentDidUpdate(): void {
    this.restore();
  }

  /** Measures where the rows on screen stand: after every scroll, and before every change. */
  remember(): void {
    const scroller = this.#scroller();
    if (scroller === null) return;
    const top = scroller.getBoundingClientRect().top;
    const height = scroller.clientHeight;
    const rows = this.#rows();
    const places: Place[] = [];
    for (let index = firstBelow(rows, top); index < rows.length; index += 1) {
      const row = rows[index];
      const bottom = (row?.getBoundingClientRect().bottom ?? 0) - top;
      if (row?.dataset.anchor !== undefined) places.push({ key: row.dataset.anchor, bottom });
      if (bottom > height) break;
    }
    this.#places = places;
  }

  restore(): void {
    const scroller = this.#scroller();
    if (scroller === null) return;
    if (this.atEnd) {
      scroller.scrollTop = scroller.scrollHeight;
      this.#top = scroller.scrollTop;
      this.remember();
      return;
    }
    const top = scroller.getBoundingClientRect().top;
    for (const place of this.#places) {
      const row = this.row(place.key);
      if (row === null) continue;
      const moved = row.getBoundingClientRect().bottom - top - place.bottom;
      if (Math.abs(moved) >= 0.5) scroller.scrollTop += moved;
      break;
    }
    this.#top = scroller.scrollTop;
    this.remember();
  }

  /** Reads from the scroll position whether the reader is at the end. */
  settle(): boolean {
    const scroller = this.#scroller();
    if (scroller === null) return this.atEnd;
    this.atEnd = scroller.scrollHeight - scroller.scrollTop - scroller.clientHeight <= END_SLACK;
    this.#top = scroller.scrollTop;
    this.remember();
    return this.atEnd;
  }

  jumpToEnd(): void {
    this.atEnd = true;
    this.restore();
  }

  row(key: string): HTMLElement | null {
    return this.props.list.current?.querySelector<HTMLElement>(`[data-anchor="${CSS.escape(key)}"]`) ?? null;
  }

  /** The first row on screen, or null. */
  firstVisible(): string | null {
    return this.#places[0]?.key ?? null;
  }

  /** Not through a reference of its own: those of outer elements are set only after this component has mounted. */
  #scroller(): HTMLElement | null {
    return this.props.list.current?.parentElement ?? null;
  }

  #heed(): void {
    const scroller = this.#scroller();
    if (scroller !== null && Math.abs(scroller.scrollTop - this.#top) > 1) this.settle();
  }

  #rows(): HTMLElement[] {
    return Array.from((this.props.list.current?.children ?? []) as HTMLCollectionOf<HTMLElement>);
  }

  override render(): ReactNode {
    return this.props.children;
  }
}

/** Index of the first row that ends below this line. Rows stand one below the other, so halving finds it. */
function firstBelow(rows: readonly HTMLElement[], line: number): number {
  let low = 0;
  let high = rows.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if ((rows[middle]?.getBoundingClientRect().bottom ?? 0) > line + 1) high = middle;
    else low = middle + 1;
  }
  return low;
}
