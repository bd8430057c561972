// What stands in the page until it is known who is logged in: the shape of what comes, and nothing that moves.

import './shell.css';
import './sidebar.css';
import { ListSkeleton } from './sidebar';

export function ShellSkeleton() {
  return (
    <div className="shell" data-pane="list" aria-busy="true">
      <div className="sidebar">
        <div className="sidebar-search" />
        <div className="sidebar-list">
          <ListSkeleton />
        </div>
      </div>
      <main className="shell-main" />
    </div>
  );
}
