public import ChatCore

extension Settings {
    /// Links to files in a local folder, behind the API's prefix: signed with `linkSecret`, or else with the tokens'
    /// secret.
    public var fileLinks: FileLinks {
        FileLinks(base: "", secret: storage.linkSecret ?? tokens.secret)
    }

    /// Opens the store that `STORAGE` names; for one thread.
    public func openObjectStore() -> any ObjectStore {
        guard let folder = storage.folder else { return S3ObjectStore(storage) }
        return DiskObjectStore(root: folder, links: fileLinks)
    }
}
