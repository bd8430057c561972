import type { CSSProperties } from 'react';
import { hueOf } from '../logic/names';

/** A user's name in the colour of the id. */
export function Name({ id, name }: { readonly id: string; readonly name: string }) {
  const style = { '--name-hue': hueOf(id) } as CSSProperties;
  return (
    <span className="name name-colour" style={style}>
      {name}
    </span>
  );
}
