// Ctrl or Cmd and K: go anywhere.

import { useState } from 'react';
import { Dialog as AriaDialog, Modal, ModalOverlay } from 'react-aria-components';
import { Icon } from '../parts/icons';
import { FinderField, FinderList, useFinder } from './finder';

export default function Switcher({ onClose }: { readonly onClose: () => void }) {
  const [query, setQuery] = useState('');
  const finder = useFinder(query, onClose);
  return (
    <ModalOverlay className="scrim high" isOpen isDismissable onOpenChange={(open) => !open && onClose()}>
      <Modal className="dialog popover switcher">
        <AriaDialog aria-label="Go to a room or a person" className="switcher-body">
          <div className="switcher-search">
            <Icon name="search" />
            <FinderField
              finder={finder}
              query={query}
              onQuery={setQuery}
              placeholder="Go to a room or a person"
              alwaysOpen
            />
          </div>
          <FinderList finder={finder} />
        </AriaDialog>
      </Modal>
    </ModalOverlay>
  );
}
