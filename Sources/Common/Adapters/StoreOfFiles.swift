public import ChatCore

extension Settings {
    /// Links to files of a folder, behind the API's prefix: signed with a secret of their own, or that of the tokens.
    public var fileLinks: FileLinks {
        FileLinks(base: "", secret: storage.linkSecret ?? tokens.secret)
    }

    /// The store that `STORAGE` names; for one thread.
    public func openObjectStore() -> any ObjectStore {
        guard let folder = storage.folder else { return S3ObjectStore(storage) }
        return DiskObjectStore(root: folder, links: fileLinks)
    }
}
