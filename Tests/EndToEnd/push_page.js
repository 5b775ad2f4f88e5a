// In the place of Chromium's push manager, which reaches no push service from here: a subscription whose private key a test has.
({ Endpoint: endpoint, Keys: keys }) => {
  const held = () => localStorage.subscribed && {
    endpoint, options: { applicationServerKey: new Uint8Array(JSON.parse(localStorage.subscribed)).buffer }, toJSON: () => ({ endpoint, expirationTime: null, keys }),
    async unsubscribe() { delete localStorage.subscribed; return true; },
  };
  Object.defineProperty(ServiceWorkerRegistration.prototype, 'pushManager', { get: () => ({
    getSubscription: async () => held() || null,
    async subscribe({ userVisibleOnly, applicationServerKey }) {
      if (!userVisibleOnly) throw new Error('userVisibleOnly is missing');
      localStorage.subscribed = JSON.stringify([...applicationServerKey]);
      return held();
    },
  }) });
}
