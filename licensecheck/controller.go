package licensecheck

import (
	"context"
	"fmt"

	"github.com/fealty/fealty/licensecheck/contract"
)

// Controller is the wallet that answers for a host, as the newest block says; zero if
// the host was never granted anything for the model. An error wraps ErrUnavailable.
func (c *Checker) Controller(ctx context.Context, model, host [32]byte) ([20]byte, error) {
	query := []contract.LicenseRegistryQuery{{ModelId: model, Subject: host}}
	out, err := read(ctx, c.chain, bindings.PackGrants(query), bindings.UnpackGrants)
	if err == nil && len(out.Views) != 1 {
		err = fmt.Errorf("the node answered with %d grants, not 1", len(out.Views))
	}
	if err != nil {
		return [20]byte{}, fmt.Errorf("%w: %w", ErrUnavailable, err)
	}
	return out.Views[0].Controller, nil
}
